"""Crops are real pixels of the very frame in which a particle was seen, or there are none."""

import dataclasses

import numpy as np
import pytest

from dustd.config import Rules
from dustd.demo.virtual import frame_of
from dustd.dustmap.particle import Scene, Sighting
from dustd.raw.frame import centred, frame_identity
from dustd.report import crops
from dustd.report.report import summarise


@pytest.fixture
def seen(dusty_shot, particle, dust):
    """A map with the darkest shadow of the shot in it, and that shadow."""
    exposure, _ = dusty_shot
    frame = frame_of(exposure)
    whole = [s for s in exposure.shadows if 60 < s.x < frame.width - 60 and 60 < s.y < frame.height - 60]
    shadow = max(whole, key=lambda each: each.attenuation)
    mx, my = centred(shadow.x, shadow.y, width=frame.width, height=frame.height)
    frame_id = frame_identity(frame)
    sighting = Sighting(
        scene=Scene(frame_id=frame_id, evidence=None),
        mx=mx,
        my=my,
        diameter_px=shadow.diameter_px,
        attenuation=shadow.attenuation,
        f_number=16.0,
        focal_length_mm=None,
        lens=None,
    )
    body = dust(
        particle(mx=mx, my=my, at_16=shadow.attenuation, sightings=(sighting,)),
        width=frame.width,
        height=frame.height,
        frame_names={frame_id: "SHOT.DNG"},
    )
    return body, shadow


@pytest.fixture
def folder(tmp_path, dusty_shot):
    """A folder that holds the shot somewhere below it."""
    (tmp_path / "day 1").mkdir()
    (tmp_path / "day 1" / "SHOT.DNG").write_bytes(dusty_shot[1])
    return tmp_path


def cut(body, folder):
    return crops.cut([summarise(body, Rules())], [folder])


def test_the_crop_shows_the_shadow_in_its_middle(seen, folder):
    body, shadow = seen
    (crop,) = cut(body, folder).values()
    grey = crop.picture.astype(float).mean(axis=2)
    away = np.hypot(*(np.indices(grey.shape) - (grey.shape[0] - 1) / 2))
    light = (grey[away < 6].mean() / grey[(away > 28) & (away < 36)].mean()) ** 2.2
    assert light == pytest.approx(1 - shadow.attenuation, abs=0.03)
    assert shadow.attenuation > 0.1
    assert crop.caption == "SHOT.DNG, f/16"


def test_another_frame_of_that_name_is_not_taken_for_it(seen, folder):
    body, _ = seen
    other = dataclasses.replace(body, frame_names={"0" * 32: "SHOT.DNG"})
    assert cut(other, folder) == {}


def test_a_frame_that_is_gone_or_broken_costs_the_crop_only(seen, folder):
    body, _ = seen
    (folder / "day 1" / "SHOT.DNG").write_bytes(b"II*\0 and nothing more")
    assert cut(body, folder) == {}
    (folder / "day 1" / "SHOT.DNG").unlink()
    assert cut(body, folder) == {}
    assert cut(body, folder / "no such folder") == {}


def test_the_right_frame_is_found_among_others_of_its_name(seen, folder):
    body, _ = seen
    for name in ("a", "z"):
        (folder / name).mkdir()
        (folder / name / "SHOT.DNG").write_bytes(b"another")
    assert len(cut(body, folder)) == 1
