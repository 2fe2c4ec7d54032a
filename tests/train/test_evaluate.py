"""`dustd evaluate`, end to end with the shipped model on small pictures; real frames with labels; packing a run."""

import json
from types import MappingProxyType

import cv2
import numpy as np
import pytest
import torch
import yaml

from dustd.cli.parser import build_parser
from dustd.detector.model import find_model
from dustd.errors import UsageError
from dustd.spots.calibration import Calibration
from dustd.train import evaluate, in_use
from dustd.train.backgrounds import is_validation
from dustd.train.froc import Truth
from dustd.train.judgement import summarise, table
from dustd.train.looking import look, look_as_in_use, measured, rescored
from dustd.train.pack import pack
from dustd.train.realframes import labelled_frames, read_frame

SHAPE = {"encoder_layers": 1, "out_feature_indexes": [1], "decoder_layers": 1, "queries": 5}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three pictures of sky, of which training leaves out two."""
    folder = tmp_path_factory.mktemp("photos")
    for name, level in (("a", 90), ("d", 120), ("i", 170)):
        shade = level + 30 * np.linspace(-1, 1, 300)[:, None] * np.ones(320)
        cv2.imwrite(str(folder / f"{name}.png"), np.repeat(shade.astype(np.uint8)[..., None], 3, -1))
    assert [p.stem for p in sorted(folder.iterdir()) if is_validation(p)] == ["d", "i"]
    return folder


@pytest.fixture(scope="module")
def dusty(tmp_path_factory):
    """One grey picture with a soft dark disc, labelled."""
    folder = tmp_path_factory.mktemp("dusty")
    ys, xs = np.mgrid[:300, :400]
    disc = 0.2 * np.clip((14 - np.hypot(xs - 260, ys - 180)) / 6 + 0.5, 0, 1)
    noise = np.random.default_rng(0).normal(0, 1.5, disc.shape)
    cv2.imwrite(str(folder / "grey.png"), np.repeat((150 * (1 - disc) + noise).astype(np.uint8)[..., None], 3, -1))
    (folder / "dust_labels.csv").write_text("file,x,y,x0,y0,x1,y1,depth\ngrey.png,260,180,246,166,274,194,0.2\n")
    return folder


class FindsNothing:
    """A detector for counting how often it is asked."""

    model_id, sha256, device = "finds-nothing", "0123456789abcdef", "cpu"
    tile_px, context_px, max_spot_px, batch_tiles = 256, 32, 80, 4
    calibration = Calibration()
    false_positive_scores = MappingProxyType({0.001: 0.9, 0.02: 0.5, 0.5: 0.1})

    def __init__(self, box_px=20.0):
        self.asked = 0
        self.box_px = box_px

    def encode(self, light):
        return light[..., 1][None]

    def __call__(self, images):
        self.asked += 1
        return [np.array([[128, 128, self.box_px, self.box_px, 0.3]], np.float32) for _ in images]


def test_an_evaluation_writes_figures_table_and_pictures(photos, dusty, tmp_path):
    words = ["evaluate", "--photos", str(photos), "--dusty", str(dusty), "--out", str(tmp_path)]
    evaluate.run(build_parser().parse_args(words))
    figures = json.loads((tmp_path / "evaluation.json").read_text())
    assert figures["test_set"]["photographs"] == ["d", "i"]
    assert 0 <= figures["all"]["model"]["mean_froc"]["value"] <= 1
    assert figures["real_frames"]["grey.png"]["labels"] == 1
    assert 0 <= figures["aperture_known"]["strata"]["all"]["mean_froc"]["value"] <= 1
    text = (tmp_path / "table.md").read_text()
    assert all(
        word in text
        for word in ("mean FROC at least 2 times", "aperture known", "grey.png", "Strata", "sensor noise only")
    )
    for picture in ("froc.png", "overlays/d.jpg", "overlays/i.jpg", "overlays/grey.jpg"):
        assert cv2.imread(str(tmp_path / picture)) is not None


def test_what_was_found_is_remembered_until_the_frame_or_the_model_changes(photos, tmp_path):
    detector = FindsNothing()
    first = look(photos / "d.png", detector, tmp_path)
    asked = detector.asked
    assert look(photos / "d.png", detector, tmp_path) == first
    assert detector.asked == asked
    detector.sha256 = "another"
    look(photos / "d.png", detector, tmp_path)
    assert detector.asked == 2 * asked


def test_labels_may_give_a_diameter_instead_of_a_box(dusty, tmp_path):
    (tmp_path / "dust_labels.csv").write_text(f"file,x,y,diameter\n{dusty / 'grey.png'},260,180,28\n")
    ((name, frame, (label,)),) = labelled_frames(tmp_path)
    assert (name, frame.width, frame.height) == ("grey.png", 400, 300)
    assert (label.x, label.y, label.diameter_px, label.ignore) == (260, 180, 28, False)


def test_the_pixels_of_a_shrunk_picture_are_wider_than_the_sensors(shared_data):
    shrunk = read_frame(shared_data / "dusty" / "panasonic-lx100_f16_sky.jpg")
    taken_width_px, sensor_um = 4272, 3.82
    assert shrunk.camera.pixel_pitch_um == pytest.approx(sensor_um * taken_width_px / shrunk.width, rel=0.01)
    cut = read_frame(shared_data / "dusty" / "canon-eos-6d_f22_crop.jpg")
    assert cut.camera.pixel_pitch_um == pytest.approx(6.58, rel=0.01)


def test_dust_that_a_photograph_shows_itself_is_neither_found_nor_false(photos, detector, tmp_path):
    seen = look(photos / "d.png", detector, tmp_path)
    best = max(seen.dusty, key=lambda d: d.score)
    own = Truth(x=best.x, y=best.y, diameter_px=10, attenuation=0.1)
    again = look(photos / "d.png", detector, tmp_path, [own])
    assert best in seen.dusty
    assert best not in again.dusty


def test_labels_that_cannot_be_read_are_a_wrong_command(tmp_path):
    with pytest.raises(UsageError):
        next(labelled_frames(tmp_path))
    (tmp_path / "dust_labels.csv").write_text("file,x,y\na.png,1,2\n")
    with pytest.raises(UsageError):
        next(labelled_frames(tmp_path))


def test_a_raw_file_with_labels_is_judged_too(shared_data, tmp_path):
    # Marked in shared/data/README.md: shadows 30 to 60 px wide.
    places = ((217, 423), (457, 143), (651, 349), (880, 314), (51, 851))
    raw = shared_data / "raw" / "raspberrypi-imx296_image-0_a28192.dng"
    rows = "".join(f"{raw},{x},{y},45\n" for x, y in places)
    (tmp_path / "dust_labels.csv").write_text("file,x,y,diameter\n" + rows)
    ((_, frame, labels),) = labelled_frames(tmp_path)
    assert (frame.kind, frame.width, frame.height, len(labels)) == ("bayer", 1456, 1088, 5)


def test_a_packed_run_says_what_it_is(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    state = {"step": 7, "elapsed_s": 3600.0, "spots": 900, "best": 0.25}
    weights = {"backbone.a": torch.ones(3), "class_embed.weight": torch.ones(2)}
    best = {"ema": weights, "state": state, "encoding": "e/1", "output": "queries", "architecture": SHAPE}
    torch.save(best, run / "best.pt")
    pack(run, tmp_path / "model", [])
    card = yaml.safe_load((tmp_path / "model" / "model.yaml").read_text())
    assert (card["id"], card["encoding"], card["architecture"]) == ("model", "e/1", SHAPE)
    assert card["training"]["spots_seen"] == 900
    assert find_model(str(tmp_path / "model")).sha256 == card["sha256"]
    packed = torch.load(tmp_path / "model" / "weights.pt", weights_only=True)
    assert list(packed) == ["backbone.a", "class_embed.weight"]
    assert packed["backbone.a"].dtype == torch.float16


def test_what_is_measured_becomes_a_probability_and_the_rest_is_dropped(photos, tmp_path):
    path = photos / "d.png"
    seen = look(path, FindsNothing(), tmp_path)
    assert measured(path, seen, 0.31, tmp_path).clean == ()
    weighed = measured(path, seen, 0.29, tmp_path)
    assert len(weighed.dusty) == len(weighed.dusty_gains) == len(seen.dusty) > 0
    surer = rescored(weighed, Calibration(intercept=2.0))
    assert all(a.score < b.score for a, b in zip(weighed.dusty, surer.dusty, strict=True))


def test_where_the_aperture_is_known_nothing_narrower_than_it_allows_is_found(photos, tmp_path):
    path = photos / "d.png"
    usual, narrow = FindsNothing(), FindsNothing(box_px=3.0)
    narrow.sha256 = "another"
    assert len(look_as_in_use(path, usual, Calibration(), tmp_path).clean) > 0
    assert look_as_in_use(path, narrow, Calibration(), tmp_path).clean == ()


def test_the_table_can_be_made_of_nothing_found(photos, tmp_path):
    looked = [look(photos / name, FindsNothing(), tmp_path) for name in ("d.png", "i.png")]
    figures = summarise(looked, evaluate.judge_all(looked), 0.5, [])
    figures |= {"model": {"id": "finds-nothing", "sha256": "0" * 64}, "reliability": None}
    assert "finds-nothing" in table(figures)
    assert "## With the aperture known" in in_use.lines(in_use.summarise(looked, [8.0, 16.0], 0.5))
