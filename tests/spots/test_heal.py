"""Heals: where a spot is healed from, and that RAW developers which read them really take the dust away."""

import json
import os
import struct
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.output import adobe_xmp, darktable_xmp, rawtherapee_pp3, xmpedit
from dustd.output.developed import orient
from dustd.output.dng import encode_dng
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import Camera, Frame, upright
from dustd.spots.heal import EDGE_PX, Healing, healing, not_at
from dustd.spots.measure import EDGE_SHARE, Shadow
from dustd.spots.spot import Spot
from tests.programs import installed

DUST = [(120.3, 90.7, 20, 0.3), (250.0, 180.0, 44, 0.25), (390.2, 230.4, 16, 0.5)]
XTRANS = tuple(tuple(map(int, row)) for row in ("110112", "112110", "201021", "112110", "110112", "021201"))
CFA = {"bayer": ((0, 1), (1, 2)), "xtrans": XTRANS, "mono": ((1,),), "linear": ((1,),)}
MATRIX = np.array([[0.7034, -0.0804, -0.1014], [-0.442, 1.2564, 0.2058], [-0.0851, 0.1994, 0.5758]])
WIDTH, HEIGHT = 480, 300


def spots_of(dust=DUST, action="divided"):
    return tuple(
        Spot(id=k, x=x, y=y, diameter_px=d, edge_px=EDGE_SHARE * d / 2, attenuation=a, score=0.9, action=action)
        for k, (x, y, d, a) in enumerate(dust, 1)
    )


def shot(kind="bayer", *, orientation=1, dusty=True):
    """A sky that darkens towards one corner, behind masked borders, with or without DUST."""
    top, left = (0, 0) if kind == "linear" else (12, 20)
    height, width = HEIGHT + top + 8, WIDTH + left + 10
    y, x = np.mgrid[:height, :width] - np.array([top, left])[:, None, None]
    slope = 0.7 * y / HEIGHT + 0.3 * x / WIDTH
    light = np.stack([0.12 + 0.05 * slope, 0.3 + 0.12 * slope, 0.3 + 0.04 * slope], axis=-1)
    for spot in spots_of() if dusty else ():
        shadow = Shadow(x=spot.x, y=spot.y, diameter_px=spot.diameter_px, ramp_px=spot.diameter_px / 2, attenuation=0)
        light *= 1 - spot.attenuation * shadow.depth(x, y)[..., None]
    pattern = np.array(CFA[kind])
    if kind == "mono":
        light = light[..., 1]
    elif kind != "linear":
        light = np.take_along_axis(light, pattern[y % len(pattern), x % len(pattern)][..., None], axis=2)[..., 0]
    noise = np.random.default_rng(1).normal(0, 20, light.shape)
    return Frame(
        raw=np.clip(512 + 14000 * light + noise, 0, 15000).astype(np.uint16),
        visible=(top, left, HEIGHT, WIDTH),
        kind=kind,
        cfa=CFA[kind],
        black=np.full(3 if kind == "linear" else pattern.shape, 512, np.float32),
        white=15000,
        wb=(2.0, 1.0, 1.5),
        xyz_to_camera=None if kind == "mono" else MATRIX,
        camera=Camera(make="dustd", model="Virtual 6", orientation=orientation),
    )


@pytest.fixture(scope="module", params=CFA)
def healed(request):
    return healing(shot(request.param, dusty=False), spots_of())


@pytest.fixture(scope="module")
def sky():
    return healing(shot(dusty=False), spots_of())


# ---- choosing ------------------------------------------------------------------------------------------------------


def test_every_corrected_spot_is_healed_from_a_place_of_like_light(healed):
    assert (len(healed.heals), healed.unhealed) == (3, ())
    for heal in healed.heals:
        slope = 0.7 * (heal.source_y - heal.y) / HEIGHT + 0.3 * (heal.source_x - heal.x) / WIDTH
        assert abs(slope) < 0.06  # the sky's light runs along it


def test_a_spot_that_was_left_is_no_edit():
    frame = shot(dusty=False)
    assert healing(frame, spots_of(action="left")).heals == ()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-5, WIDTH + 5), st.floats(-5, HEIGHT + 5), st.floats(4, 90), st.floats(0.02, 0.6)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(sorted(CFA)),
)
def test_no_source_touches_a_spot_or_the_frames_edge(dust, kind):
    spots = spots_of(dust)
    chosen = healing(shot(kind, dusty=False), spots)
    assert sorted([*chosen.unhealed, *(heal.spot_id for heal in chosen.heals)]) == [spot.id for spot in spots]
    for heal in chosen.heals:
        reach = heal.radius_px + heal.feather_px
        assert reach + EDGE_PX <= heal.source_x <= WIDTH - 1 - reach - EDGE_PX
        assert reach + EDGE_PX <= heal.source_y <= HEIGHT - 1 - reach - EDGE_PX
        for spot in spots:
            shadow = (spot.diameter_px + spot.edge_px / EDGE_SHARE) / 2
            assert np.hypot(heal.source_x - spot.x, heal.source_y - spot.y) > reach + shadow


def test_heals_of_what_is_healed_already_are_left_out(sky):
    first, *others = sky.heals
    assert not_at(sky.heals, [(first.x + 1, first.y - 1)]) == tuple(others)


# ---- RawTherapee ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(0, 12), st.integers(0, 9))
def test_places_turn_as_pictures_do(orientation, x, y):
    picture = np.zeros((10, 13))
    picture[y, x] = 1
    column, row = upright(x, y, width=13, height=10, orientation=orientation)
    assert orient(picture, orientation)[row, column] == 1


@given(
    st.sampled_from([1, 3, 6, 8]),
    st.sampled_from(["0", "90", "180", "270"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(sorted(CFA)),
)
def test_spots_that_were_merged_are_found_again_however_the_picture_is_turned(orientation, rotate, flip, flop, kind):
    chosen = replace(healing(shot(kind, dusty=False), spots_of()), orientation=orientation)
    existing = (
        f"[Exposure]\nAuto=false\n\n[Coarse Transformation]\nRotate={rotate}\nHorizontalFlip={str(flip).lower()}\n"
        f"VerticalFlip={str(flop).lower()}\n\n[Spot removal]\nEnabled=false\n\n[RAW]\nCA=true\n"
    ).encode()
    data, count = rawtherapee_pp3.merged(existing, chosen)
    assert count == 3
    assert rawtherapee_pp3.merged(data, chosen) == (data, 0)


def test_merging_into_a_pp3_changes_its_spots_only(sky):
    existing = (
        b"[Exposure]\r\nAuto=false\r\n\r\n[Spot removal]\r\nEnabled=true\r\nSpot1=9;9;30;30;8;0.5;1;\r\n\r\n[RAW]\r\n"
    )
    data, count = rawtherapee_pp3.merged(existing, sky)
    lines = data.decode().split("\r\n")
    added = [line for line in lines if line.startswith("Spot") and not line.startswith("Spot1=")]
    assert [line.split("=")[0] for line in added] == ["Spot2", "Spot3", "Spot4"]
    assert [line for line in lines if line not in added] == existing.decode().split("\r\n")
    assert count == 3


def test_spot_removal_that_was_switched_off_is_not_switched_on(sky):
    existing = b"[Spot removal]\nEnabled=false\nSpot1=9;9;30;30;8;0.5;1;\n"
    with pytest.raises(ValueError, match="switched off"):
        rawtherapee_pp3.merged(existing, sky)


# ---- darktable -----------------------------------------------------------------------------------------------------


def of_darktable(data):
    rdf = xmpedit.parse(data, {"http://darktable.sf.net/": "darktable"})
    return [
        {name.split(" ")[-1]: value for name, value in item.attributes.items()} for item in rdf.all() if item.attributes
    ]


def test_places_count_from_the_corner_of_the_whole_sensor(sky):
    (first, *_), heal = (
        [each for each in of_darktable(darktable_xmp.new_sidecar(sky)[0]) if "mask_points" in each],
        sky.heals[0],
    )
    x, y, radius, _ = struct.unpack("<4f", bytes.fromhex(first["mask_points"]))
    assert (x * sky.raw_width, y * sky.raw_height) == pytest.approx((heal.x + 20.5, heal.y + 12.5), abs=1e-3)
    assert radius * sky.raw_height == pytest.approx(heal.radius_px, rel=1e-5)


def test_merging_adds_an_instance_and_keeps_the_users_own(sky):
    """The user has retouched one spot; dustd's instance comes last and repeats the user's form."""
    own = replace(sky, heals=(replace(sky.heals[0], x=40.0, y=40.0),))
    existing = darktable_xmp.new_sidecar(own)[0].replace(
        b'darktable:history_end="1"',
        b'darktable:history_end="1"\n   darktable:iop_order_list="lens,0,retouch,0,flip,0"',
    )
    data, count = darktable_xmp.merged(existing, sky)
    items = of_darktable(data)
    steps = [(item["num"], item["multi_priority"]) for item in items if "operation" in item]
    assert (count, steps) == (3, [("0", "0"), ("1", "1")])
    assert sum(item.get("mask_num") == "0" for item in items) == 2
    assert sum(item.get("mask_num") == "1" for item in items) == 2 + 4
    assert any(item.get("iop_order_list") == "lens,0,retouch,0,retouch,1,flip,0" for item in items)
    assert any(item.get("history_end") == "2" for item in items)
    assert darktable_xmp.merged(data, sky) == (data, 0)


def test_a_second_instance_that_darktable_would_not_show_is_not_added(sky):
    own = replace(sky, heals=(replace(sky.heals[0], x=40.0, y=40.0),))
    with pytest.raises(ValueError, match="retouching already"):
        darktable_xmp.merged(darktable_xmp.new_sidecar(own)[0], sky)


def test_undone_steps_are_not_brought_back(sky):
    existing = darktable_xmp.new_sidecar(sky)[0].replace(b'history_end="1"', b'history_end="0"')
    with pytest.raises(ValueError, match="undone"):
        darktable_xmp.merged(existing, sky)


@given(st.binary(max_size=80) | st.text("<>/='\"! rdfRDF:x&;", max_size=80).map(str.encode))
def test_whatever_lies_there_a_merge_works_or_says_why_not(data):
    chosen = Healing(
        heals=(), kind="mono", raw_width=9, raw_height=9, visible=(0, 0, 9, 9), picture=(9, 9), orientation=1
    )
    for merged in (darktable_xmp.merged, adobe_xmp.merged, rawtherapee_pp3.merged):
        try:
            merged(data, chosen)
        except ValueError as exc:
            assert str(exc)


# ---- Adobe (experimental) ------------------------------------------------------------------------------------------


def test_exiftool_reads_adobes_areas(sky, tmp_path):
    path = tmp_path / "IMG.xmp"
    data, count = adobe_xmp.new_sidecar(replace(sky, picture=(460, 290)))
    path.write_bytes(data)
    told = subprocess.run(
        [installed("exiftool"), "-struct", "-j", "-RetouchAreas", path], capture_output=True, check=True
    ).stdout
    areas = json.loads(told)[0]["RetouchAreas"]
    mask = areas[0]["Masks"][0]
    assert len(areas) == count == 3
    assert float(mask["X"]) == pytest.approx((sky.heals[0].x + 0.5 - 10) / 460, abs=1e-5)
    assert float(areas[0]["OffsetY"]) == pytest.approx((sky.heals[0].source_y + 0.5 - 5) / 290, abs=1e-5)


def test_merging_into_adobes_xmp_keeps_ratings_and_adds_no_spot_twice(sky):
    existing = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    data, count = adobe_xmp.merged(existing, sky)
    assert count == 3 and b'xmp:Rating="4"' in data
    assert adobe_xmp.merged(data, sky) == (data, 0)
    more = replace(sky, heals=(*sky.heals, replace(sky.heals[0], x=40.0, y=40.0)))
    again, count = adobe_xmp.merged(data, more)
    assert count == 1 and again.count(b"<crs:RetouchAreas>") == 1


# ---- the developers themselves -------------------------------------------------------------------------------------


def darktable(source, target, home):
    edit = source.with_name(source.name + ".xmp")
    given = [edit] if edit.exists() else []
    return ["darktable-cli", source, *given, target, "--core", "--configdir", home / "dt", "--library", ":memory:"]


def rawtherapee(source, target, home):
    return ["rawtherapee-cli", "-Y", "-n", "-o", target, "-d", "-s", "-c", source]


def rendered(program, frame, folder, *, edit=False):
    """What *program* makes of the frame, as grey light turned back to the sensor's orientation."""
    folder.mkdir()
    source, target = folder / "SHOT.DNG", folder / "shown.png"
    preview = np.full((HEIGHT // 2, WIDTH // 2, 3), 128, np.uint8)
    source.write_bytes(encode_dng(frame, frame.raw, SourceMetadata(), preview_rgb=preview, original_name="SHOT.DNG"))
    if edit:
        chosen = healing(replace(shot(frame.kind, dusty=False), camera=frame.camera), spots_of())
        suffix, module = (".xmp", darktable_xmp) if program is darktable else (".pp3", rawtherapee_pp3)
        (folder / ("SHOT.DNG" + suffix)).write_bytes(module.new_sidecar(chosen)[0])
    command = program(source, target, folder)
    command[0] = installed(command[0])
    environment = os.environ | {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=250)
    shown = cv2.imread(str(target)).astype(float).mean(axis=-1)
    return orient(shown, {6: 8, 8: 6}.get(frame.camera.orientation, frame.camera.orientation))


def depths(shown):
    """How much darker each spot is than its surroundings: natural log of the picture's brightness."""
    height, width = shown.shape
    y, x = np.mgrid[:height, :width] + np.array([(HEIGHT - height) / 2, (WIDTH - width) / 2])[:, None, None]
    found = []
    for spot in spots_of():
        far = np.hypot(x - spot.x, y - spot.y) / spot.diameter_px
        found.append(np.log(shown[(far > 1.2) & (far < 1.7)].mean() / shown[far < 0.3].mean()))
    return np.array(found)


@pytest.mark.parametrize("program", [darktable, rawtherapee])
@pytest.mark.parametrize(
    ("kind", "orientation"), [("bayer", 1), ("bayer", 3), ("bayer", 6), ("bayer", 8), ("xtrans", 6)]
)
def test_developers_take_the_dust_out_of_the_original(program, kind, orientation, tmp_path):
    frame = shot(kind, orientation=orientation)
    with_edit = rendered(program, frame, tmp_path / "healed", edit=True)
    assert np.abs(depths(with_edit)).max() < 0.03
    if orientation == 6:  # one look without the edit will do: it is the edit that takes the dust away
        before = rendered(program, frame, tmp_path / "dusty")
        assert depths(before).min() > 0.06
        assert np.median(np.abs(before - with_edit)) == 0  # nothing else looks different
