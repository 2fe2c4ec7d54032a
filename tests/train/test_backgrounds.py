"""The pool of backgrounds: photographs and RAW files in linear light, cells, and what is left out."""

import cv2
import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from dustd.train.backgrounds import Backgrounds, is_validation, photo_paths
from dustd.train.froc import Truth
from dustd.train.mining import CELL_PX, new_hardness


def generator(seed):
    return torch.Generator().manual_seed(seed)


def write_photo(path, picture):
    assert cv2.imwrite(str(path), picture)
    return path


@pytest.fixture
def photo(tmp_path):
    """A photograph of 1024 px whose 16 cells all have tones of their own."""
    tones = np.arange(30, 250, 14, np.uint8)[:16].reshape(4, 4)
    return write_photo(tmp_path / "p.png", np.repeat(np.kron(tones, np.ones((256, 256), np.uint8))[..., None], 3, -1))


def test_a_seed_draws_the_same_backgrounds_again(photo):
    pool = Backgrounds([photo])
    (first, cells), (second, cells_again) = (pool.draw(12, 96, generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(cells, cells_again)


def test_backgrounds_are_linear_light_between_black_and_white(photo):
    light, cells = Backgrounds([photo], photo_share=0.5).draw(40, 64, generator(1))
    assert light.shape == (40, 3, 64, 64)
    assert light.dtype == torch.float32
    assert float(light.min()) >= 0
    assert float(light.max()) <= 1
    assert (cells == -1).any()
    assert (cells >= 0).any()


def test_crops_keep_away_from_dust_that_a_photograph_shows_itself(tmp_path):
    picture = np.full((2048, 2048, 3), 160, np.uint8)
    cv2.circle(picture, (300, 300), 12, (0, 0, 0), -1)
    path = write_photo(tmp_path / "p.png", picture)
    dust = {"p.png": [Truth(x=300, y=300, diameter_px=24, attenuation=0.5)]}
    pool = Backgrounds([path], photo_share=1.0, dust=dust)
    assert {index for index, _, _ in pool.cells} == {0, 1}  # at half size, too
    light, cells = pool.draw(60, 320, generator(2))
    plain = light[cells >= 0]
    assert len(plain) > 20
    assert float((plain.amax((1, 2, 3)) - plain.amin((1, 2, 3))).max()) < 1e-4


def test_without_any_photograph_grounds_are_drawn():
    light, cells = Backgrounds([]).draw(4, 64, generator(1))
    assert torch.isfinite(light).all()
    assert cells.eq(-1).all()


def test_a_hard_cell_is_drawn_more_often_and_named(photo):
    hardness = new_hardness().zero_()
    pool = Backgrounds([photo], photo_share=1.0, hardness=hardness)
    chosen = next(i for i, (index, row, column) in enumerate(pool.cells) if index == 1 and (row, column) == (2, 1))
    hardness[chosen] = 1.0
    _, cells = pool.draw(200, 32, generator(5))
    plain = cells[cells >= 0]
    assert 0.4 < float((plain == chosen).float().mean()) < 0.7


def test_a_crop_comes_from_the_cell_that_is_named(tmp_path):
    picture = np.zeros((1024, 1024, 3), np.uint8)
    picture[:, :512, 2] = picture[:, 512:, 1] = 120  # red on the left, green on the right
    pool = Backgrounds([write_photo(tmp_path / "p.png", picture)], photo_share=1.0)
    light, cells = pool.draw(80, 32, generator(4))
    right = 0
    for crop, cell in zip(light, cells.tolist(), strict=True):
        if cell >= 0:
            index, _, column = pool.cells[cell]
            middle = (column + 0.5) * CELL_PX / pool.photos[index].shape[1]
            right += int(crop[:, 16, 16].argmax()) == (0 if middle < 0.5 else 1)
    assert right >= int((cells >= 0).sum()) - 1  # one may lie on the border


def test_what_cannot_be_used_is_left_out_and_named_once(photo, tmp_path):
    broken, small = tmp_path / "broken.jpg", tmp_path / "small.png"
    broken.write_bytes(b"no picture")
    write_photo(small, np.zeros((300, 1200, 3), np.uint8))
    raw = tmp_path / "cut.dng"
    raw.write_bytes(b"II*\0")
    with capture_logs() as logs:
        pool = Backgrounds(photo_paths(tmp_path))
    assert len(pool.photos) == 2
    said = {entry["file"]: entry["problem"] for entry in logs if entry["event"] == "background_skipped"}
    assert set(said) == {str(broken), str(small), str(raw)}
    assert "1200×300" in said[str(small)]
    ready = next(entry for entry in logs if entry["event"] == "backgrounds_ready")
    assert ready["pictures"] == 1
    assert ready["memory_mb"] == round(1.25 * 1024 * 1024 * 3 / 1e6)


def test_memory_is_bounded_and_says_what_is_left_out(photo, tmp_path):
    for index in range(3):
        (tmp_path / f"more{index}.png").write_bytes(photo.read_bytes())
    with capture_logs() as logs:
        pool = Backgrounds(photo_paths(tmp_path), memory_bytes=8_000_000)
    assert sum(picture.nbytes for picture in pool.photos) <= 8_000_000
    assert [entry["pictures"] for entry in logs if entry["event"] == "backgrounds_left_out"] == [2]


def test_a_raw_file_joins_the_pool_as_linear_light(shared_data):
    path = shared_data / "raw" / "gopro-hero6-black_GOPR0024.dng"
    if not path.exists():
        pytest.skip("the GoPro DNG is not here")
    pool = Backgrounds([path], photo_share=1.0)
    (picture,) = pool.photos
    assert picture.dtype == np.uint16
    assert picture.shape == (1500, 2000, 3)
    light, _ = pool.draw(8, 96, generator(2))
    assert float(light.max()) <= 1
    assert float(light.mean()) > 0.01
    # White-balanced: the grey pavement that fills the lower middle has no cast.
    red, green, blue = picture[1000:1400, 850:1000].mean((0, 1))
    assert red / green == pytest.approx(1, abs=0.15)
    assert blue / green == pytest.approx(1, abs=0.15)


def test_raw_files_and_photographs_are_found_whatever_their_case(tmp_path):
    for name in ("a.JPG", "b.CR3", "c.nef", "d.txt", "e.tif"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "f.dng").touch()
    assert [p.name for p in photo_paths(tmp_path)] == ["a.JPG", "b.CR3", "f.dng", "c.nef", "e.tif"]


def test_the_split_goes_by_name_alone(tmp_path):
    assert is_validation(tmp_path / "x.jpg") == is_validation(tmp_path / "elsewhere" / "x.dng")
