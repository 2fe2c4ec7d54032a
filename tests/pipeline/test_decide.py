"""The second act: from what was seen to what is corrected, without a network."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dustd.dustmap import evidence
from dustd.dustmap.match import State
from dustd.dustmap.rejection import rejections_of
from dustd.pipeline.decide import Scale, decide, view_in
from dustd.pipeline.look import Look
from dustd.raw.frame import Camera
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Candidate, Refused

SCALE = Scale(
    calibration=Calibration(),
    false_positive_scores={0.001: 0.99, 0.02: 0.9, 0.1: 0.4, 0.5: 0.05},
)
HEIGHT, WIDTH = 2000, 3000


def candidate(number, *, width, depth=0.1, edge=None, score=0.96):
    x, y = np.random.default_rng(number).uniform((200, 200), (WIDTH - 200, HEIGHT - 200)).tolist()  # in no order
    return Candidate(
        x=x,
        y=y,
        width_px=1.1 * width,
        height_px=1.1 * width,
        score=score,
        shadow_x=x,
        shadow_y=y,
        diameter_px=width,
        edge_px=math.hypot(0.8 * math.sqrt(depth) * width, 4) if edge is None else edge,
        attenuation=depth,
        gain=300.0,
    )


def look_at(candidates):
    backdrop = np.full((HEIGHT // 8, WIDTH // 8), 0.4, np.float32)
    return Look(
        camera=Camera(f_number=11.0, pixel_pitch_um=4.8),
        frame_id="1",
        width=WIDTH,
        height=HEIGHT,
        candidates=tuple(candidates),
        refused=(),
        scene=evidence.look(backdrop, 8),
        model_id="test",
        sha256="0",
        device="cpu",
        tiles=1,
        skipped_tiles=0,
    )


def discs_of_bokeh():
    rng = np.random.default_rng(3)
    return [candidate(n, width=float(w), edge=float(0.2 * w)) for n, w in enumerate(rng.uniform(16, 60, 25))]


def shadows_of_dust():
    rng = np.random.default_rng(4)
    return [candidate(n, width=float(40 * np.exp(rng.normal(0, 0.04))), depth=0.02 * 1.2**n) for n in range(12)]


def wanted(candidates, sensitivity):
    spots = decide(look_at(candidates), State(), scale=SCALE, sensitivity=sensitivity).spots
    return [spot for spot in spots if spot.wanted]


def test_dust_with_dust_around_it_is_corrected():
    assert len(wanted(shadows_of_dust(), 50)) == 12


def test_marks_that_no_lens_could_throw_together_wait_for_the_map_and_the_reason_says_so():
    spots = decide(look_at(discs_of_bokeh()), State(), scale=SCALE, sensitivity=50).spots
    assert sum(spot.wanted for spot in spots) <= 2
    told = [spot for spot in spots if "shadows of one lens would be alike" in spot.reason]
    assert len(told) >= 20
    assert all(spot.score_alone > 0.9 > spot.score and "left alone" in spot.reason for spot in told)


@pytest.mark.parametrize("marks", [discs_of_bokeh(), shadows_of_dust(), [candidate(1, width=40.0, score=0.999)]])
def test_sensitivity_0_corrects_nothing_that_the_map_has_not_confirmed(marks):
    assert wanted(marks, 0) == []


def flock():
    """Marks 6 to 16 px wide, of which those below 11.4 px can be no dust at f/11; the others, and the refused."""
    rng = np.random.default_rng(6)
    depths = rng.uniform(0.1, 0.4, 20)
    birds = [candidate(n, width=6 + n / 2, depth=float(depths[n]), edge=0.55 * (6 + n / 2)) for n in range(20)]
    kept = [
        Refused(
            x=each.x,
            y=each.y,
            diameter_px=each.diameter_px,
            reason="too narrow",
            edge_px=each.edge_px,
            attenuation=each.attenuation,
            gain=each.gain,
            box_px=each.width_px,
            score=each.score,
        )
        for each in birds[:11]
    ]
    return birds[12:18], kept


def test_what_was_refused_speaks_against_what_is_hardly_wider():
    birds, kept = flock()
    look = replace(look_at(birds), refused=tuple(kept))
    assert not any(spot.wanted for spot in decide(look, State(), scale=SCALE, sensitivity=50).spots)


def test_refused_marks_without_numbers_as_defects_and_old_sidecars_have_them_say_nothing():
    birds, kept = flock()
    bare = [Refused(x=each.x, y=each.y, diameter_px=each.diameter_px, reason=each.reason) for each in kept]
    heard = decide(replace(look_at(birds), refused=tuple(bare)), State(), scale=SCALE, sensitivity=50).spots
    assert heard == decide(look_at(birds), State(), scale=SCALE, sensitivity=50).spots
    assert any(spot.wanted for spot in heard)


def test_sensitivity_100_trusts_each_mark_by_itself():
    assert len(wanted(discs_of_bokeh(), 100)) == 25


def test_the_higher_the_sensitivity_the_more_is_corrected_in_suspect_company():
    numbers = [len(wanted(discs_of_bokeh(), sensitivity)) for sensitivity in (0, 25, 50, 60, 75, 90, 100)]
    assert numbers == sorted(numbers)


def moles(first, count):
    """Marks of one kind on a subject, too few to tell by themselves."""
    return [candidate(first + n, width=24.0 + 0.3 * n, depth=0.3, edge=8.0) for n in range(count)]


def textured(seed):
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.normal(size=(25, 38)).astype(np.float32), (WIDTH // 8, HEIGHT // 8))
    return (0.3 * np.exp(0.4 * coarse)).astype(np.float32)


@pytest.mark.parametrize(("scene", "lasts"), [(1, True), (2, False)])
def test_a_verdict_lowers_what_is_like_it_while_the_scene_lasts(scene, lasts):
    first = replace(look_at(moles(0, 1)), frame_id="first", scene=evidence.look(textured(1), 8))
    (spot,) = decide(first, State(), scale=SCALE, sensitivity=50).spots
    verdicts = rejections_of([replace(spot, rejected=True)], view_in(first, SCALE), "first.dng")
    later = replace(look_at(moles(7, 2)), scene=evidence.look(textured(scene), 8))
    without = decide(later, State(), scale=SCALE, sensitivity=50)
    with_verdict = decide(later, State(), scale=SCALE, sensitivity=50, verdicts=verdicts)
    lowered = [b.score < a.score - 0.05 for a, b in zip(without.spots, with_verdict.spots, strict=True)]
    assert all(lowered) if lasts else not any(lowered)


def test_a_lone_mark_is_judged_by_itself():
    (spot,) = wanted([candidate(1, width=40.0)], 50)
    assert spot.score_alone is None
    assert spot.company == ""
