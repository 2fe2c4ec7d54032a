"""The shipped model: it is the one its card describes, and it sees what a detector must see."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dustd import model
from dustd.detect import detect, threshold
from dustd.errors import ModelError
from dustd.virtual import frame_of


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
        model.choose_device("cuda")
    assert "auto" in refused.value.remedy


def test_calibrated_thresholds_fall_with_the_rate_of_false_positives(detector):
    scores = [score for _, score in sorted(detector.false_positive_scores.items())]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_most_clear_dust_on_a_plain_backdrop_is_found(detector, dusty_shot):
    exposure, _ = dusty_shot
    seen = detect(frame_of(exposure), detector)
    limit = threshold(100, detector.false_positive_scores)
    found = [d for d in seen.detections if d.score >= limit]
    clear = [s for s in exposure.shadows if 0.08 <= s.attenuation <= 0.6]
    hits = [s for s in clear if any(np.hypot(d.x - s.x, d.y - s.y) < max(8, s.diameter_px / 2) for d in found)]
    assert len(clear) >= 5
    assert len(hits) >= 0.6 * len(clear)


def test_a_plain_grey_frame_holds_no_dust(detector, dusty_shot):
    from dataclasses import replace

    frame = frame_of(dusty_shot[0])
    rng = np.random.default_rng(1)
    grey = rng.normal(4000, 40, frame.raw.shape).round().astype(np.uint16)
    seen = detect(replace(frame, raw=grey), detector)
    limit = threshold(50, detector.false_positive_scores)
    assert [d for d in seen.detections if d.score >= limit] == []


def test_the_folder_of_a_model_holds_weights_and_card_alone():
    folder = Path(model.find_model("default").folder)
    assert sorted(p.name for p in folder.iterdir()) == ["model.yaml", "weights.pt"]


def test_a_calibration_changes_the_scores_but_not_what_is_found():
    logits, boxes = torch.tensor([2.0, -1.0]), torch.tensor([[100.0, 100, 20, 20], [300, 300, 30, 30]])
    raw = model.to_detections(logits, boxes)
    mapped = model.to_detections(logits, boxes, (2.0, -1.0))
    assert [(d.x, d.y) for d in mapped] == [(d.x, d.y) for d in raw]
    assert [d.score for d in mapped] == pytest.approx([torch.tensor(z).sigmoid().item() for z in (3.0, -3.0)])
