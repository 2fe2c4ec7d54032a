"""What no shadow can be is refused: too narrow, too sharp, one or two defective samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.raw.frame import Camera, Frame
from dustd.spots import optics
from dustd.spots.physics import impossible, is_defect
from dustd.spots.spot import Candidate

BAYER = ((0, 1), (1, 2))
LEVEL, BLACK = 6000.0, 512
YS, XS = np.mgrid[:96, :96].astype(float)


def frame(shadow=0.0, off=(), *, noise=20.0, cfa=BAYER, seed=1) -> Frame:
    """A plain grey frame, darker by *shadow* (96, 96), with samples *off*: (row, column, value)."""
    colours = np.array(cfa)[YS.astype(int) % len(cfa), XS.astype(int) % len(cfa)]
    signal = LEVEL * np.array([0.5, 1.0, 0.7])[colours] * (1 - shadow)
    raw = BLACK + signal + noise * np.random.default_rng(seed).standard_normal(signal.shape)
    for row, column, value in off:
        raw[row, column] = value
    return Frame(
        raw=raw.round().clip(0, 16383).astype(np.uint16),
        visible=(0, 0, 96, 96),
        kind="bayer" if len(cfa) == 2 else "mono",
        cfa=cfa,
        black=np.full((len(cfa), len(cfa)), BLACK, np.float32),
        white=16383,
        wb=(2.0, 1.0, 1.4),
        xyz_to_camera=None,
        camera=Camera(),
    )


def candidate(*, side=10.0, diameter=8.0, attenuation=0.1, edge=3.0, gain=20.0, x=48.0, y=48.0) -> Candidate:
    return Candidate(
        x=x,
        y=y,
        width_px=side,
        height_px=side,
        score=0.9,
        shadow_x=x,
        shadow_y=y,
        diameter_px=diameter,
        edge_px=edge,
        attenuation=attenuation,
        gain=gain,
    )


def disc(diameter, attenuation):
    away = np.hypot(XS - 48, YS - 48)
    return attenuation * np.clip((diameter / 2 - away) / max(diameter * attenuation**0.5, 1) + 0.5, 0, 1)


@pytest.mark.parametrize("cfa", [BAYER, ((1,),)])
@pytest.mark.parametrize("off", [[(48, 48, 300)], [(48, 48, 16000)], [(48, 48, 600), (48, 49, 700)]])
def test_one_or_two_samples_that_are_off_are_a_defect(cfa, off):
    assert is_defect(candidate(), frame(off=off, cfa=cfa))


@pytest.mark.parametrize("attenuation", [0.05, 0.2, 0.6])
@pytest.mark.parametrize("diameter", [6, 10, 20])
def test_a_shadow_takes_the_neighbours_too(diameter, attenuation):
    shadowed = frame(disc(diameter, attenuation))
    assert not is_defect(candidate(side=1.3 * diameter, diameter=diameter, attenuation=attenuation), shadowed)


def test_a_shadow_with_a_defect_in_it_stays_a_shadow():
    shadowed = frame(disc(16, 0.15), off=[(48, 50, 300)])
    assert not is_defect(candidate(side=20, diameter=16, attenuation=0.15), shadowed)


def test_plain_ground_is_no_defect():
    assert not is_defect(candidate(), frame())


def test_a_defect_at_the_border_is_told_too():
    assert is_defect(candidate(x=1, y=1), frame(off=[(1, 1, 200)]))


@pytest.mark.parametrize(("f_number", "pitch"), [(4.0, 4.4), (11.0, 4.4), (16.0, None)])
def test_what_is_narrower_than_any_stack_allows_is_refused_with_the_aperture(f_number, pitch):
    narrowest = optics.narrowest_px(f_number, pitch, 6000)
    plain = frame()
    assert "at this aperture" in impossible(candidate(side=40, diameter=0.9 * narrowest), plain, narrowest)
    assert impossible(candidate(side=40, diameter=1.1 * narrowest, edge=9.0), plain, narrowest) is None


def test_without_an_aperture_any_width_may_be():
    assert impossible(candidate(side=40, diameter=3.0), frame(), None) is None


def test_an_edge_too_sharp_for_its_depth_is_refused():
    assert "too sharp" in impossible(candidate(side=80, diameter=60, attenuation=0.3, edge=2.0), frame(), 10.0)


def test_a_grain_larger_than_its_blur_has_the_blur_for_an_edge():
    """From a depth of .3 on it may be translucent and wide: its width says nothing of its edge."""
    seen = candidate(side=100, diameter=80, attenuation=0.4, edge=0.61 * 12)
    assert impossible(seen, frame(), 12.0) is None
    assert "too sharp" in impossible(seen, frame(), 60.0)


@settings(deadline=None)
@given(diameter=st.floats(20, 100), attenuation=st.floats(0.01, 0.6), opacity=st.floats(0.3, 1))
def test_dust_as_the_optics_make_it_is_never_too_sharp(diameter, attenuation, opacity):
    if attenuation >= opacity:
        return
    grain = diameter * (attenuation / opacity) ** 0.5
    seen = candidate(side=80, diameter=diameter, attenuation=attenuation, edge=max(0.61 * grain, 1.3))
    assert impossible(seen, frame(), 10.0) is None


def test_a_known_body_has_shadows_as_wide_as_its_blur():
    assert optics.typical_px(11.0, 4.4, 8256, 550.0) == pytest.approx(50.0)
    assert optics.typical_px(11.0, 4.4, 8256) == pytest.approx(1800 / 4.4 / 11)
    assert optics.typical_px(None, 4.4, 8256, 550.0) is None


def test_a_known_body_narrows_what_is_possible():
    assert optics.narrowest_px(11.0, 4.4, 8256, 550.0) > optics.narrowest_px(11.0, 4.4, 8256)
    assert optics.narrowest_px(None, 4.4, 8256) is None
