"""The shipped model: it is the one its card describes, and it sees what a detector must see."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from dustd.demo.virtual import frame_of
from dustd.detector import engines, model
from dustd.detector.detect import detect, threshold
from dustd.errors import ModelError, SurroundingsError
from dustd.spots.candidates import measure


def test_the_shipped_weights_are_the_ones_the_card_describes():
    model.verify(model.find_model("default"))


def test_changed_weights_are_refused(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(model.find_model("default").folder, folder)
    with (folder / "weights.pt").open("r+b") as file:
        file.seek(1000)
        file.write(b"changed")
    with pytest.raises(ModelError, match="not the ones"):
        model.load_detector(str(folder))


def test_an_unknown_model_names_those_there_are():
    with pytest.raises(ModelError, match="no model 'dust-huge'") as refused:
        model.find_model("dust-huge")
    assert "dust-small" in refused.value.remedy


def test_a_card_that_lacks_a_key_is_refused(tmp_path):
    (tmp_path / "model.yaml").write_text("id: half\n")
    with pytest.raises(ModelError, match="incomplete"):
        model.find_model(str(tmp_path))


def test_a_model_of_another_encoding_is_refused(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(model.find_model("default").folder, folder)
    card = yaml.safe_load((folder / "model.yaml").read_text())
    (folder / "model.yaml").write_text(yaml.safe_dump(card | {"encoding": "rgb/0"}))
    with pytest.raises(ModelError, match="encoding"):
        model.load_detector(str(folder))


def test_a_device_that_is_not_there_is_an_error_with_a_remedy():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ModelError, match="no cuda device") as refused:
        engines.choose_device("cuda")
    assert "auto" in refused.value.remedy


def test_calibrated_thresholds_fall_with_the_rate_of_false_positives(detector):
    scores = [score for _, score in sorted(detector.false_positive_scores.items())]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def spots_in(frame, seen, detector):
    return [measure(frame, d, 0, detector.calibration) for d in seen.detections if d.score > 0.3]


def test_most_clear_dust_on_a_plain_backdrop_is_found(detector, dusty_shot):
    exposure, _ = dusty_shot
    seen = detect(frame_of(exposure), detector)
    limit = threshold(100, detector.false_positive_scores)
    found = [s for s in spots_in(frame_of(exposure), seen, detector) if s.score >= limit]
    clear = [s for s in exposure.shadows if 0.08 <= s.attenuation <= 0.6]
    hits = [s for s in clear if any(np.hypot(d.x - s.x, d.y - s.y) < max(8, s.diameter_px / 2) for d in found)]
    assert len(clear) >= 5
    assert len(hits) >= 0.6 * len(clear)


def test_a_plain_grey_frame_holds_no_dust(detector, dusty_shot):
    from dataclasses import replace

    frame = frame_of(dusty_shot[0])
    rng = np.random.default_rng(1)
    grey = rng.normal(4000, 40, frame.raw.shape).round().astype(np.uint16)
    grey_frame = replace(frame, raw=grey)
    limit = threshold(50, detector.false_positive_scores)
    spots = spots_in(grey_frame, detect(grey_frame, detector), detector)
    assert [spot for spot in spots if spot.score >= limit] == []


def test_the_folder_of_a_model_holds_weights_exported_network_and_card_alone():
    folder = Path(model.find_model("default").folder)
    assert sorted(p.name for p in folder.iterdir()) == ["model.yaml", "network.bin", "network.xml", "weights.pt"]


def test_a_card_says_how_scores_become_probabilities(detector):
    calibration = detector.calibration
    assert 0 < calibration.measured_from < 1
    assert calibration.probability(0.9, 50.0) > calibration.probability(0.9, 0.0) > calibration.probability(0.5, 0.0)


def test_both_engines_give_the_same_answers(dusty_shot):
    exposure, _ = dusty_shot
    frame = frame_of(exposure)
    scores = []
    for engine in ("openvino", "torch"):
        seen = detect(frame, model.load_detector(engine=engine, device="cpu", threads=1))
        scores.append({(round(d.x / 8), round(d.y / 8)): d.score for d in seen.detections if d.score > 0.5})
    first, second = scores
    assert len(first) >= 3
    assert sum(place in second and abs(second[place] - score) < 0.1 for place, score in first.items()) >= 0.8 * len(
        first
    )


def test_a_model_without_an_exported_network_runs_in_torch():
    card = dataclasses.replace(model.find_model("default"), exported=None)
    assert engines.choose_engine("auto", "cpu", card) == ("torch", "cpu")
    with pytest.raises(ModelError, match="no exported network"):
        engines.choose_engine("openvino", "cpu", card)


def test_torch_is_not_asked_for_a_gpu_where_there_is_no_trace_of_one(monkeypatch):
    monkeypatch.setattr(engines, "gpu_here", lambda: None)
    monkeypatch.setattr(engines, "_OTHER_GPUS", ())
    monkeypatch.setattr(engines, "_devices", lambda: pytest.fail("torch was loaded"))
    assert engines.choose_engine("auto", "auto", model.find_model("default")) == ("openvino", "cpu")


def test_torch_is_asked_where_a_gpu_may_be(monkeypatch):
    monkeypatch.setattr(engines, "gpu_here", lambda: "NVIDIA")
    monkeypatch.setattr(engines, "has_torch", lambda: True)
    monkeypatch.setattr(engines, "_devices", lambda: ("cuda", "cpu"))
    assert engines.choose_engine("auto", "auto", model.find_model("default")) == ("torch", "cuda")


def test_an_engine_that_fails_in_mid_frame_is_no_frames_fault_and_goes_on_after_it(detector):
    tile = detector.encode(np.full((detector.tile_px, detector.tile_px, 3), 0.2, np.float32))
    before = detector(tile[None])
    with pytest.raises(SurroundingsError, match=r"cannot run on cpu") as failed:
        detector(np.zeros((2, *tile.shape[:1], 8, 8), np.float32))  # the engine itself refuses such tiles
    assert "restart dustd" in failed.value.remedy
    for old, new in zip(before, detector(tile[None]), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_model_that_a_library_refuses_is_a_model_error_at_the_start_as_well(tmp_path):
    pytest.importorskip("rfdetr")
    folder = tmp_path / "mine"
    shutil.copytree(model.find_model("default").folder, folder)
    card = yaml.safe_load((folder / "model.yaml").read_text())
    card["architecture"]["encoder_layers"] = "many"
    (folder / "model.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError):
        model.load_detector(str(folder), engine="torch", device="cpu", threads=1)
