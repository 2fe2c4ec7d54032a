"""Real labelled pictures: COCO boxes follow the crops, reach training, and mistakes in them are named."""

import json

import cv2
import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from dustd.errors import FrameError, UsageError
from dustd.train.data import Crops, develop
from dustd.train.labelled import draw_crop, mix_in, read_labelled
from dustd.train.mining import new_hardness

SPOTS = ((100, 60, 24, 16), (300, 250, 12, 30))  # x, y, width, height


def write(folder, images, annotations, **more):
    text = json.dumps({"images": images, "annotations": annotations, **more})
    (folder / "labels.json").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """One picture of 480 × 400 px, bright but for two dark boxes, which are labelled, and one without dust."""
    picture = np.full((400, 480, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / "clean.png"), picture)
    for x, y, w, h in SPOTS:
        picture[y : y + h, x : x + w] = 60
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "clean.png"}]
    write(tmp_path, images, [{"id": i, "image_id": 1, "bbox": list(b)} for i, b in enumerate(SPOTS)])
    return tmp_path


def test_pictures_and_boxes_are_read(folder):
    dusty, clean = read_labelled(folder, least_side_px=320)
    assert dusty.picture.shape == (400, 480, 3)
    assert dusty.boxes.tolist() == [[x + w / 2, y + h / 2, w, h] for x, y, w, h in SPOTS]
    assert clean.boxes.shape == (0, 4)


def test_boxes_lie_on_the_dust_however_the_crop_is_turned(folder):
    dusty, _ = read_labelled(folder, least_side_px=320)
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(60):
        light, boxes = draw_crop(dusty, 160, rng)
        marked = np.zeros((160, 160), bool)
        for x, y, w, h in boxes:
            x0, y0 = max(round(x - w / 2), 0), max(round(y - h / 2), 0)
            marked[y0 : max(round(y + h / 2), 0), x0 : max(round(x + w / 2), 0)] = True
        assert np.array_equal(light[1] < 0.5 * light[1].max(), marked)
        seen += len(boxes)
    assert seen >= 30


def test_real_dust_reaches_training_as_visible_and_without_synthetic_dust_beside_it(folder):
    labelled = read_labelled(folder, least_side_px=192)
    generator = torch.Generator().manual_seed(2)
    light, cells = torch.full((24, 3, 192, 192), 0.3), torch.arange(24)
    real = mix_in(labelled, light, cells, generator)
    chosen = [index for index, boxes in enumerate(real) if boxes is not None]
    assert 0 < len(chosen) < 12
    assert (cells == -1).nonzero().flatten().tolist() == chosen
    batch = develop(light, cells, real, generator)
    for index, (boxes, depths, visible) in enumerate(zip(batch.boxes, batch.attenuations, batch.visible, strict=True)):
        assert len(boxes) == len(depths) == len(visible)
        if index in chosen:
            assert depths.isnan().all()
            assert len(boxes) <= len(real[index])
            centred = ((boxes[:, :2] > 1) & (boxes[:, :2] < 127)).all(1)
            assert visible[centred & (boxes[:, 2:] >= 12).all(1)].all()
        else:
            assert not depths.isnan().any()


def test_without_a_folder_nothing_changes():
    light, cells = torch.rand(3, 3, 32, 32), torch.arange(3)
    before = light.clone()
    assert mix_in((), light, cells, torch.Generator().manual_seed(1)) == [None] * 3
    assert torch.equal(light, before)


def test_workers_draw_from_the_folder(folder):
    write(folder, [{"id": 1, "file_name": "a.png"}], [{"id": 1, "image_id": 1, "bbox": [200, 180, 80, 60]}])
    crops = Crops([], batch=8, crop_px=128, seed=1, hardness=new_hardness(), labelled=folder)
    stream = iter(crops)
    depths = [depth for _ in range(6) for depth in next(stream).attenuations]
    assert any(depth.isnan().any() for depth in depths)


def test_a_picture_smaller_than_a_crop_is_left_out_and_named(folder):
    with capture_logs() as logs:
        assert read_labelled(folder, least_side_px=576) == ()
    skipped = [entry for entry in logs if entry["event"] == "labelled_skipped"]
    assert len(skipped) == 2
    assert "480×400" in skipped[0]["problem"]


def test_only_the_dust_of_several_categories_counts(folder):
    boxes = [
        {"id": 1, "image_id": 1, "bbox": [10, 10, 8, 8], "category_id": 5},
        {"id": 2, "image_id": 1, "bbox": [50, 50, 8, 8], "category_id": 6},
    ]
    categories = [{"id": 5, "name": "hair"}, {"id": 6, "name": "Dust"}]
    write(folder, [{"id": 1, "file_name": "a.png"}], boxes, categories=categories)
    (only,) = read_labelled(folder, least_side_px=100)
    assert only.boxes.tolist() == [[54, 54, 8, 8]]


IMAGE = {"id": 1, "file_name": "a.png"}


@pytest.mark.parametrize(
    ("images", "annotations", "words"),
    [
        ([IMAGE], [{"id": 7, "image_id": 1, "bbox": [1, 2, 3]}], "annotation 7"),
        ([IMAGE], [{"id": 7, "image_id": 1, "bbox": [1, 2, 0, 5]}], "annotation 7"),
        ([IMAGE], [{"id": 7, "image_id": 9, "bbox": [1, 2, 3, 4]}], "not listed"),
        ([IMAGE], [{"id": 7, "image_id": 1, "bbox": [470, 2, 30, 4]}], "beyond a.png"),
        ([{"id": 1, "file_name": "gone.png"}], [], "gone.png"),
        ([{"id": 1}], [], "file_name"),
        ([IMAGE], None, "annotations"),
        ([IMAGE, 3], [], "images"),
    ],
)
def test_a_mistake_in_the_labels_is_named_with_file_and_remedy(folder, images, annotations, words):
    write(folder, images, annotations)
    with pytest.raises(UsageError, match=words) as raised:
        read_labelled(folder, least_side_px=100)
    assert raised.value.path == folder / "labels.json"
    assert raised.value.remedy


@pytest.mark.parametrize("text", ["{", "[]", "\xff\xfe", '{"info": {}}', '{"images": []}'])
def test_what_is_no_coco_file_is_refused(folder, text):
    (folder / "labels.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as raised:
        read_labelled(folder, least_side_px=100)
    assert raised.value.path == folder / "labels.json"


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no labels"):
        read_labelled(tmp_path, least_side_px=100)


def test_an_unreadable_picture_is_named(folder):
    (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(FrameError) as raised:
        read_labelled(folder, least_side_px=100)
    assert raised.value.path == folder / "a.png"
