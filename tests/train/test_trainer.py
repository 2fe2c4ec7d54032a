"""A run of training: it learns, goes on after being killed, changes stage, and says what is wrong with its input."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dustd.cli.parser import build_parser
from dustd.detector import network
from dustd.detector.model import load_detector
from dustd.detector.network import Architecture, build, decode, features, is_part, set_crop
from dustd.errors import ModelError, UsageError
from dustd.train import curves, setloss, trainer
from dustd.train.backgrounds import Backgrounds
from dustd.train.checkpoint import load, new_state, save_best, save_last
from dustd.train.data import Batch, draw_batch
from dustd.train.pack import pack
from dustd.train.validation import judge_batch

TINY = Architecture(encoder_layers=1, out_feature_indexes=(1,), decoder_layers=1, queries=20, query_groups=2)
# Killed before it ends; must be importable by a child process.
CHILD = """
import sys
from dustd.cli import parser
from dustd.detector import network
from dustd.train import checkpoint, trainer
network.ARCHITECTURES["dust-tiny"] = network.Architecture(
    encoder_layers=1, out_feature_indexes=(1,), decoder_layers=1, queries=20, query_groups=2
)
trainer.CHECKPOINT_S = 0.0
trainer.run(parser.build_parser().parse_args(["train", *sys.argv[1:]]))
"""


def train(words):
    trainer.run(build_parser().parse_args(["train", *words]))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(network.ARCHITECTURES, "dust-tiny", TINY)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(2):  # the first is held out, by its name
        picture = cv2.GaussianBlur(rng.integers(0, 255, (900, 900, 3), np.uint8), (0, 0), 20)
        cv2.imwrite(str(folder / f"p{index}.jpg"), picture)
    return folder


def arguments(photos, run, *more: str) -> list[str]:
    tiny = ["--model", "dust-tiny", "--crop", "128", "--batch", "16", "--workers", "0", "--threads", "1"]
    return ["--photos", str(photos), "--run", str(run), *tiny, "--validation-crops", "16", "--device", "cpu", *more]


@pytest.fixture
def small_batch() -> Batch:
    return draw_batch(Backgrounds([]), 16, 128, torch.Generator().manual_seed(7))


def state_of(run) -> dict:
    return load(run / "last.pt", TINY, "cpu")["state"]


def test_a_killed_run_goes_on_where_it_was(tiny, photos, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, *arguments(photos, run, "--hours", "1")]
    child = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (run / "last.pt").exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = state_of(run)
    assert before["step"] >= 1
    train(arguments(photos, run, "--hours", "1", "--steps", str(before["step"] + 1)))
    after = state_of(run)
    assert after["step"] == before["step"] + 1
    assert after["spots"] >= before["spots"]
    assert after["elapsed_s"] > before["elapsed_s"]
    assert [int(row["step"]) for row in curves.read_log(run / "log.csv")] == [after["step"]]
    assert (run / "curves.png").exists()


def test_the_set_stage_starts_from_the_dense_weights_and_packs_as_queries(tiny, photos, tmp_path):
    run, packed = tmp_path / "run", tmp_path / "packed"
    train(arguments(photos, run, "--steps", "1"))
    dense = load(run / "best.pt", TINY, "cpu")
    assert dense["output"] == "proposals"
    train(arguments(photos, run, "--stage", "set", "--steps", "1"))
    after = load(run / "set" / "best.pt", TINY, "cpu")
    assert after["output"] == "queries"
    assert after["state"]["spots"] >= dense["state"]["spots"]
    assert after["state"]["dense_steps"] == 1
    columns = curves.read_log(run / "set" / "log.csv")[0]
    assert {"set", "mean_froc", "proposals_mean_froc"} <= set(columns)
    train(arguments(photos, run, "--stage", "set", "--steps", "2"))
    assert load(run / "set" / "last.pt", TINY, "cpu")["state"]["step"] == 2
    pack(run / "set", packed, [])
    detector = load_detector(str(packed), device="cpu", threads=1)
    light = np.full((detector.tile_px, detector.tile_px, 3), 0.2, np.float32)
    answers = detector(detector.encode(light)[None])
    assert len(answers) == 1
    assert len(answers[0]) <= TINY.queries


def test_a_run_before_runs_noted_their_network_is_one_of_dust_small(tmp_path):
    torch.save({"state": new_state()}, tmp_path / "last.pt")
    assert load(tmp_path / "last.pt", Architecture(), "cpu")["state"]["step"] == 0
    with pytest.raises(ModelError, match=r"last\.pt: it is a run of another network \(encoder_layers 4 there, 1 here"):
        load(tmp_path / "last.pt", TINY, "cpu")


def test_a_run_of_another_encoding_is_refused(tmp_path, monkeypatch):
    from dustd.train import checkpoint

    monkeypatch.setattr(checkpoint, "ENCODING", "rgb/0")
    save_best(tmp_path, TINY, torch.nn.Linear(1, 1), new_state(), "proposals")
    monkeypatch.undo()
    with pytest.raises(ModelError, match="trained on the encoding rgb/0") as refused:
        load(tmp_path / "best.pt", TINY, "cpu")
    assert "--run" in refused.value.remedy


def test_a_broken_checkpoint_is_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(ModelError, match="cannot be read as a checkpoint") as refused:
        load(tmp_path / "last.pt", TINY, "cpu")
    assert refused.value.path == tmp_path / "last.pt"


def test_set_prediction_without_dense_weights_says_what_to_do_first(tiny, photos, tmp_path):
    with pytest.raises(ModelError, match="no weights to start") as refused:
        train(arguments(photos, tmp_path, "--stage", "set"))
    assert "without --stage set" in refused.value.remedy
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [(lambda folder: None, "no such folder"), (lambda folder: folder.mkdir(), "holds no photographs")],
)
def test_a_folder_without_photographs_is_named(tiny, tmp_path, prepare, problem):
    folder = tmp_path / "photos"
    prepare(folder)
    with pytest.raises(UsageError, match=problem) as refused:
        train(arguments(folder, tmp_path / "run"))
    assert refused.value.path == folder


def test_photographs_too_small_to_use_are_an_error(tiny, tmp_path, caplog):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        cv2.imwrite(str(folder / f"p{index}.png"), np.zeros((60, 60, 3), np.uint8))
    with pytest.raises(UsageError, match="none of its 1 photographs can be used"):
        train(arguments(folder, tmp_path / "run"))


def test_crops_that_make_no_whole_tile_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="8 crops of 100 px"):
        train(["--photos", str(tmp_path / "none"), "--crop", "100"])
    with pytest.raises(UsageError, match="multiple of 4"):
        train(["--photos", str(tmp_path / "none"), "--stage", "set", "--crop", "256", "--batch", "6"])


def test_a_step_of_the_set_stage_teaches_both_the_proposals_and_the_decoder(small_batch):
    torch.manual_seed(5)
    model = build(TINY).train()
    set_crop(model, 128)
    setloss.begin(model)
    optimizer = trainer.make_optimizer(model, 1e-3, everything=True)
    parts = [model.class_embed.weight, model.transformer.enc_out_class_embed[0].weight]
    before = [part.detach().clone() for part in parts]
    small_batch.cells[:] = -1
    criterion = setloss.build_criterion(TINY)
    losses = trainer.step(model, features, criterion, optimizer, small_batch, torch.zeros(1))
    assert set(losses) == {"focal", "giou", "l1", "set", "class", "box", "overlap"}
    assert all(not torch.equal(was, now) for was, now in zip(before, parts, strict=True))


def test_a_loss_that_is_no_number_changes_nothing(small_batch):
    model = build(TINY).train()
    set_crop(model, 128)
    optimizer = trainer.make_optimizer(model, 1e-3, everything=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small_batch.image[:] = torch.nan
    trainer.step(model, features, None, optimizer, small_batch, torch.zeros(1))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_perfect_queries_leave_no_box_loss(small_batch):
    criterion = setloss.build_criterion(TINY)
    so_far = np.cumsum([int(visible.sum()) for visible in small_batch.visible])
    few = tuple(visible & bool(n <= TINY.queries) for visible, n in zip(small_batch.visible, so_far, strict=True))
    batch = replace(small_batch, visible=few)
    (boxes, _, visible), *_ = setloss.tiles(batch)
    spots = boxes[visible] / network.TILE_PX
    assert 3 <= len(spots) <= TINY.queries
    places = torch.full((1, TINY.queries, 4), 0.01)
    places[0, : len(spots)] = spots
    places = places.repeat(1, TINY.query_groups, 1)
    answer = {"pred_logits": torch.full((*places.shape[:2], 2), -8.0), "pred_boxes": places}
    losses = setloss.set_loss(criterion, {**answer, "aux_outputs": [], "enc_outputs": answer}, batch, TINY.queries)
    assert float(losses["box"]) < 1e-5
    assert float(losses["overlap"]) < 1e-4


def test_the_dense_head_of_the_first_group_is_not_taught_by_matching(small_batch):
    model = build(TINY).train()
    set_crop(model, 128)
    setloss.begin(model)
    answer = decode(model, features(model, small_batch.image))
    setloss.set_loss(setloss.build_criterion(TINY), answer, small_batch, TINY.queries)["set"].backward()
    heads = model.transformer.enc_out_class_embed
    assert float(heads[0].weight.grad.abs().max()) == 0.0
    assert float(heads[1].weight.grad.abs().max()) > 0.0


def test_labels_of_crops_laid_out_lie_where_their_crops_lie(small_batch):
    (boxes, attenuations, visible), *rest = setloss.tiles(small_batch)
    assert rest == []
    assert len(boxes) == len(attenuations) == len(visible) == sum(map(len, small_batch.boxes))
    first = sum(map(len, small_batch.boxes[:6]))  # crop 6 is in the second row of four, third column
    moved = small_batch.boxes[6] + torch.tensor([256.0, 128.0, 0.0, 0.0])
    assert torch.equal(boxes[first : first + len(moved)], moved)


def test_answers_over_tiles_and_over_crops_are_judged_alike(small_batch):
    def judged(labels: list) -> tuple[int, int]:
        most = max(len(boxes) for boxes, _, _ in labels)
        logits, places = torch.full((len(labels), most), -9.0), torch.ones(len(labels), most, 4)
        for index, (boxes, _, _) in enumerate(labels):
            logits[index, : len(boxes)] = 3.0
            places[index, : len(boxes)] = boxes
        answers = judge_batch(logits, places, small_batch)
        return sum(int(j.counts.sum()) for j in answers), sum(int((~np.isnan(j.found)).sum()) for j in answers)

    crops = list(zip(small_batch.boxes, small_batch.attenuations, small_batch.visible, strict=True))
    one, other = judged(crops), judged(setloss.tiles(small_batch))
    assert one[0] == other[0] > 0
    assert abs(one[1] - other[1]) <= 2  # spots that overlap merge the same way, but for those at a seam


def test_a_log_takes_rows_of_other_columns(tmp_path):
    curves.log_row(tmp_path / "log.csv", {"spots": 1, "focal": 0.5, "mean_froc": 0.1})
    curves.log_row(tmp_path / "log.csv", {"spots": 2, "focal": 0.4, "set": 6.0, "mean_froc": 0.2, "mean_froc_low": 0.1})
    rows = curves.read_log(tmp_path / "log.csv")
    assert [row["set"] for row in rows] == ["", "6.0"]
    curves.draw_curves(tmp_path)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_resumed_run_keeps_the_moments_of_its_optimiser(tmp_path):
    from dustd.train.checkpoint import resume

    def fresh():
        model = build(TINY)
        return model, build(TINY), trainer.make_optimizer(model, 1e-3, everything=False)

    model, ema, optimizer = fresh()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_last(tmp_path, TINY, model, ema, optimizer, {**new_state(), "step": 5}, torch.full((3,), 0.7))
    again, ema_again, optimizer_again = fresh()
    hardness = torch.zeros(3)
    state = resume(tmp_path, TINY, "cpu", again, ema_again, optimizer_again, hardness)
    assert state["step"] == 5
    assert hardness.tolist() == pytest.approx([0.7] * 3)
    trained = [(a, b) for (n, a), (_, b) in zip(model.named_parameters(), again.named_parameters(), strict=True)]
    assert all(torch.equal(a, b) for a, b in trained)
    moments = [group.state[next(iter(group.state))]["exp_avg"] for group in (optimizer, optimizer_again)]
    assert torch.equal(*moments)


def test_every_needed_weight_is_packed(tmp_path, monkeypatch):
    monkeypatch.setattr("dustd.train.pack.TILES", 4)  # ranges do not matter here
    model = build(TINY)
    for output in ("proposals", "queries"):
        save_best(tmp_path, TINY, model, new_state(), output)
        pack(tmp_path, tmp_path / output, [])
        weights = torch.load(tmp_path / output / "weights.pt", weights_only=True)
        assert set(weights) == {name for name in model.state_dict() if is_part(name, output)}


def test_a_network_of_an_unknown_shape_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="'dust-huge'") as refused:
        train(["--photos", str(tmp_path), "--model", "dust-huge"])
    assert all(name in refused.value.remedy for name in network.ARCHITECTURES)
