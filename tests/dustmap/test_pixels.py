"""One body, pictures of several sizes: no grain is on a map twice, and none is looked for in a wrong place."""

import dataclasses

import numpy as np
import pytest

from dustd.config import OutputSettings
from dustd.dustmap import evidence
from dustd.dustmap.pixels import Pixels, body_of, fit_together, own_name
from dustd.dustmap.store import Store
from dustd.pipeline.frame_pipeline import Pipeline
from tests.dustmap.test_recovery import observed
from tests.soak import seeds
from tests.soak.standin import DarkestPlace

BODY = "Canon EOS R5 #1"
FULL, SMALL = (960, 640), (480, 320)
APART = own_name(BODY, Pixels(width=480, height=320, pitch_um=None))


def shot(n, size=FULL, pitch_um=None):
    """A frame of one grain, as the whole sensor in a picture of this size shows it."""
    record = observed(n, body=BODY)
    scale = size[0] / FULL[0]
    rng = np.random.default_rng(n)
    seen = evidence.look(rng.uniform(0.2, 0.6, (size[1] // 16, size[0] // 16)).astype(np.float32), 16)
    spots = tuple(
        dataclasses.replace(spot, x=300 * scale, y=200 * scale, diameter_px=spot.diameter_px * scale)
        for spot in record.spots
    )
    camera = dataclasses.replace(record.camera, pixel_pitch_um=pitch_um)
    width, height = size
    return dataclasses.replace(
        record,
        camera=camera,
        width=width,
        height=height,
        spots=spots,
        evidence={**evidence.to_dict(seen), "frame_id": record.evidence["frame_id"]},
    )


@pytest.mark.parametrize("pitches", [(4.4, 8.8), (None, None), (4.4, None)])
def test_a_reduced_raw_has_a_map_of_its_own_with_each_grain_once(pitches):
    sizes = [(FULL, pitches[0]), (SMALL, pitches[1])]
    with Store.open(":memory:") as store:
        for n in range(8):
            assert store.observe(shot(n, *sizes[n % 2]))
            assert not store.observe(shot(n, *sizes[n % 2]))
        assert [(each.body_id, each.frames, len(each.particles)) for each in store.bodies()] == [
            (BODY, 4, 1),
            (APART, 4, 1),
        ]
        for each in store.bodies():
            (particle,) = each.particles
            assert particle.confirmed and particle.frames_seen == particle.frames_eligible == 4


def test_pictures_share_a_map_where_their_pixels_are_those_of_the_sensor():
    full = Pixels(width=8192, height=5464, pitch_um=4.4)
    for other in (
        Pixels(width=5120, height=3413, pitch_um=4.4),  # a crop of the same shape, whose pitch is known
        Pixels(width=8192, height=4608, pitch_um=None),  # another shape: a crop
        Pixels(width=8208, height=5480, pitch_um=None),  # margins
    ):
        assert fit_together(full, other) and fit_together(other, full)
    for other in (
        Pixels(width=4096, height=2732, pitch_um=8.8),
        Pixels(width=4096, height=2732, pitch_um=None),
        Pixels(width=6144, height=4098, pitch_um=None),
    ):
        assert not fit_together(full, other)


def test_a_cleaning_is_of_the_sensor_whatever_the_size_of_its_pictures():
    with Store.open(":memory:") as store:
        for n in range(4):
            store.observe(shot(n, (FULL, SMALL)[n % 2]))
        store.cleaned(BODY, "2026-11-10T00:00:00", after_all=True)
        third = (240, 160)
        for n, size in enumerate((FULL, SMALL, third), start=12):
            store.observe(shot(n, size))
        assert [[epoch.frames for epoch in store.epochs(name)] for name in store.body_ids()] == [[2, 1], [0, 1], [2, 1]]
        assert store.undo_cleaning(APART)
        assert [len(store.epochs(name)) for name in store.body_ids()] == [1, 1, 1]


def test_forgetting_a_body_forgets_all_its_maps_and_forgetting_one_size_that_one():
    for name, left in ((APART, (BODY,)), (BODY, ())):
        with Store.open(":memory:") as store:
            for n in range(2):
                store.observe(shot(n, (FULL, SMALL)[n]))
            assert store.forget(name)
            assert store.body_ids() == left


def test_cleaning_both_sizes_keeps_them_apart_and_the_sidecar_says_so(tmp_path, worker):
    frame = seeds._scene(0).raw
    out = tmp_path / "out"
    out.mkdir()
    with Store.open(":memory:") as store:
        pipeline = Pipeline(
            detector=DarkestPlace(),
            store=store,
            worker=worker,
            output=OutputSettings(),
            sensitivity_of=lambda *_: 50.0,
        )
        names = []
        for n, mosaic in enumerate((frame, frame[: seeds.HEIGHT // 2, : seeds.WIDTH // 2])):
            source = tmp_path / f"{n}.dng"
            at, pitch_um = f"2026-11-01T08:00:0{n}", (n + 1) * seeds.PITCH_UM
            source.write_bytes(seeds.plain(mosaic.copy(), serial="V6-SIZE", taken_at=at, pitch_um=pitch_um))
            names.append(pipeline.process(source, out).camera.body_id)
        assert len(set(names)) == 2 and {body_of(name) for name in names} == {names[0]}
        assert [(each.body_id, each.frames) for each in store.bodies()] == [(names[0], 1), (names[1], 1)]
