import dataclasses

import numpy as np
import pytest

from dustd.demo.verdict import changed_outside, is_visible, judge, judge_map, match, psnr_db, table
from dustd.demo.virtual import Exposure, Shadow
from dustd.output.sidecar import Record, Source
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot

DEEP = Shadow(grain=0, x=100.0, y=80.0, diameter_px=20.0, attenuation=0.10)
FAINT = Shadow(grain=1, x=200.0, y=120.0, diameter_px=20.0, attenuation=0.01)


@pytest.fixture
def exposure():
    rng = np.random.default_rng(1)
    clean = rng.normal(6000, 60, (200, 300)).astype(np.uint16)
    mosaic = clean.copy()
    rows, cols = np.mgrid[:200, :300]
    for shadow in (DEEP, FAINT):
        inside = np.hypot(cols - shadow.x, rows - shadow.y) < shadow.diameter_px / 2
        mosaic[inside] = 512 + (clean[inside] - 512) * (1 - shadow.attenuation)
    return Exposure(mosaic=mosaic, clean=clean, shadows=(DEEP, FAINT), camera=Camera(f_number=11.0))


def spot(x, y, action="divided", id=1):
    return Spot(id=id, x=x, y=y, diameter_px=20.0, edge_px=2.0, attenuation=0.1, score=0.9, action=action)


def record(*spots):
    source = Source(name="DSC_0001.DNG", size=1, sha256="", mtime_ns=1)
    return Record(source=source, camera=Camera(), spots=spots, status="cleaned", timings_ms={"total": 1500.0})


def test_a_perfect_correction_is_removed_and_nothing_is_wrong(exposure):
    verdict = judge(exposure, exposure.clean, record(spot(101, 79), spot(200, 121, id=2)))
    assert verdict.removed == (DEEP,)
    assert (verdict.missed, verdict.left, verdict.wrong, verdict.outside_px) == (0, (), (), 0)
    assert verdict.faint_removed == 1
    assert verdict.psnr_after_db > verdict.psnr_before_db + 20
    assert verdict.seconds == 1.5


def test_dust_that_was_not_seen_is_missed(exposure):
    verdict = judge(exposure, exposure.mosaic, record())
    assert (verdict.missed, verdict.removed) == (1, ())
    assert verdict.psnr_after_db == verdict.psnr_before_db


def test_dust_that_was_seen_and_left_is_not_missed(exposure):
    verdict = judge(exposure, exposure.mosaic, record(spot(100, 80, action="left")))
    assert (verdict.missed, verdict.left, verdict.removed) == (0, (DEEP,), ())


def test_a_correction_where_no_dust_lies_is_wrong_and_one_left_alone_is_not(exposure):
    verdict = judge(exposure, exposure.mosaic, record(spot(30, 150), spot(60, 150, action="left", id=2)))
    assert [wrong.x for wrong in verdict.wrong] == [30]


def test_faint_dust_is_not_expected_to_be_seen(exposure):
    assert is_visible(DEEP, exposure.clean)
    assert not is_visible(FAINT, exposure.clean)


def test_dust_in_texture_of_its_own_size_or_on_clipped_light_is_not_expected_to_be_seen():
    rows, cols = np.mgrid[:200, :300]
    blobs = (6000 * (1 + 0.3 * np.sin(cols / 7) * np.sin(rows / 7))).astype(np.uint16)
    assert not is_visible(DEEP, blobs)
    assert not is_visible(DEEP, np.full((200, 300), 15871, np.uint16))


def test_each_shadow_is_matched_once_by_the_nearest_spot():
    found = match([DEEP], [spot(104, 80, id=1), spot(101, 80, id=2)])
    assert found == {2: DEEP}


def test_samples_changed_beyond_the_corrected_spots_are_counted(exposure):
    after = exposure.mosaic.copy()
    after[80, 100] += 1
    after[10, 10] += 1
    assert changed_outside(exposure.mosaic, after, [spot(100, 80)]) == 1


def test_without_visible_dust_there_is_no_decibel(exposure):
    assert psnr_db(exposure.mosaic, exposure.clean, ()) is None


def test_the_table_has_a_line_per_frame_and_sums(exposure):
    verdict = judge(exposure, exposure.clean, record(spot(100, 80)))
    other = dataclasses.replace(verdict, name="DSC_0002.DNG", removed=())
    text = table([verdict, other])
    assert "DSC_0001.DNG" in text
    assert [line.split()[1:4] for line in text.splitlines() if line.startswith("all")] == [["2", "1", "0"]]
    assert "first 1 frames 100%, last 1 frames 0%" in text


def test_the_table_of_nothing_does_not_fail():
    assert "none visible" in table([])


def test_the_map_is_judged_by_the_dust_that_showed_twice(exposure):
    verdict = judge(exposure, exposure.clean, record())
    learnt = judge_map([(101.0, 80.0), (20.0, 20.0)], [verdict, verdict], exposure.shadows)
    assert (learnt.confirmed, learnt.could_be, learnt.wrong) == (1, 1, 1)
