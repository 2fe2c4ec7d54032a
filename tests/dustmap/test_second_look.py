"""Looking again where dust is known: faint shadows come out of noise and texture, and nothing comes out of nothing."""

import dataclasses

import cv2
import numpy as np
import pytest

from dustd.dustmap import evidence
from dustd.dustmap.decide import State
from dustd.dustmap.particle import Particle, Scene, Sighting, places_of, predict, view_of
from dustd.dustmap.second_look import LEAST_SNR, SUREST, look, look_again, shadows
from dustd.raw.frame import Camera, Frame, centred
from dustd.raw.light import overview
from dustd.spots.measure import Shadow
from dustd.spots.spot import Spot

BLACK, WHITE, SIDE = 512, 16383, 480
CFA = {"bayer": ((0, 1), (1, 2)), "mono": ((1,),), "linear": ((1,),)}
F_NUMBER, DIAMETER = 16.0, 28.0
HERE = Shadow(x=243.0, y=236.0, diameter_px=DIAMETER, ramp_px=10, attenuation=0.02)


def frame_with(attenuation, kind="bayer", *, level=0.3, texture=0.0, seed=0, f_number=F_NUMBER):
    """A gradient with soft texture of *texture* contrast, and one shadow near HERE; 40000 electrons at white."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:SIDE, :SIDE]
    rough = sum(cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), s) * s for s in (2, 4, 8, 16))
    shadow = dataclasses.replace(HERE, x=240.0, y=240.0, attenuation=max(attenuation, 1e-6))
    light = level * (1 + 0.3 * xs / SIDE) * np.exp(texture * rough / rough.std())
    light *= 1 - shadow.attenuation * shadow.depth(xs, ys)
    if kind == "linear":
        light = np.repeat(light[..., None], 3, axis=-1)
    electrons = light * 40000 + rng.normal(size=light.shape) * np.sqrt(np.maximum(light, 0) * 40000 + 16)
    raw = np.clip(np.rint(BLACK + (WHITE - BLACK) * electrons / 40000), 0, WHITE).astype(np.uint16)
    cfa = CFA[kind]
    black = np.full(3 if kind == "linear" else (len(cfa), len(cfa)), BLACK, np.float32)
    return Frame(
        raw=raw, visible=(0, 0, SIDE, SIDE), kind=kind, cfa=cfa, black=black, white=WHITE, wb=(1, 1, 1),
        xyz_to_camera=None, camera=Camera(f_number=f_number, lens="50 mm", focal_length_mm=50.0),
    )  # fmt: skip


def view_in(frame):
    seen = evidence.look(overview(frame, 8), 8)
    return view_of(frame.camera, frame_id="now", width=SIDE, height=SIDE, evidence=seen, score=None)


def particle(frame, attenuation=0.02, **changes):
    """Dust that was seen before through the same lens, 5 px from where the frame shows it."""
    mx, my = centred(HERE.x, HERE.y, width=SIDE, height=SIDE)
    before = Sighting(
        scene=Scene(frame_id="before", evidence=view_in(frame).evidence), mx=mx, my=my, diameter_px=DIAMETER,
        attenuation=attenuation, f_number=F_NUMBER, focal_length_mm=50.0, lens="50 mm",
    )  # fmt: skip
    values = {
        "id": "p1", "mx": mx, "my": my, "strength_px2": attenuation * np.pi * DIAMETER**2 / 4,
        "blur_constant": DIAMETER * F_NUMBER, "opacity": 1.0, "log_odds": 4.0, "confirmed": True, "first_seen": None,
        "last_seen": None, "frames_seen": 3, "sightings": (before,),
        "places": places_of((before,)),
    }  # fmt: skip
    return Particle(**values | changes)


def again(frame, *particles, spots=(), limit=0.8):
    return look_again(frame, spots, State(particles=particles), view_in(frame), limit)


@pytest.mark.parametrize("kind", CFA)
@pytest.mark.parametrize("attenuation", [0.01, 0.02, 0.06])
def test_a_faint_shadow_is_found_and_measured_on_every_kind_of_sensor(kind, attenuation):
    seen = look(frame_with(attenuation, kind), dataclasses.replace(HERE, attenuation=attenuation), radius_px=11)
    assert seen.snr > LEAST_SNR
    assert seen.log_ratio == SUREST
    assert np.hypot(seen.shadow.x - 240, seen.shadow.y - 240) < 6
    assert seen.shadow.attenuation == pytest.approx(attenuation, rel=0.2)


@pytest.mark.parametrize("texture", [0.0, 0.05, 0.3])
def test_light_without_a_shadow_speaks_against_one_or_not_at_all(texture):
    frames = [frame_with(0.0, texture=texture, seed=seed) for seed in range(10)]
    looks = [look(frame, HERE, radius_px=11) for frame in frames]
    assert sum(seen.snr > LEAST_SNR for seen in looks) <= 1
    assert np.median([seen.log_ratio for seen in looks]) < 0.1


def test_clipped_and_black_light_says_nothing():
    assert look(frame_with(0.02, level=3.0), HERE, radius_px=11) is None
    assert look(frame_with(0.02, level=0.0), HERE, radius_px=11) is None


def test_a_place_outside_the_frame_says_nothing():
    assert look(frame_with(0.02), dataclasses.replace(HERE, x=-60.0), radius_px=11) is None


def test_known_dust_that_the_detector_missed_is_found_and_the_reason_says_so():
    frame = frame_with(0.02)
    (spot,) = again(frame, particle(frame))
    assert spot.wanted
    assert (spot.particle_id, spot.frames_seen) == ("p1", 3)
    assert spot.reason.startswith("seen in 3 frames; known here; faint signal ")
    assert spot.reason.endswith("σ")


def test_dust_that_is_gone_is_not_found():
    frame = frame_with(0.0)
    assert again(frame, particle(frame)) == ()


def test_only_particles_that_may_show_are_looked_for():
    open_wide = frame_with(0.02, f_number=2.8)
    assert again(open_wide, particle(open_wide)) == ()
    unknown = frame_with(0.02, f_number=None)
    assert again(unknown, particle(unknown)) == ()


def test_dust_is_looked_for_where_the_coarse_limits_say_that_nothing_shows():
    frame = frame_with(0.02)
    seen = view_in(frame)
    limits = bytes([evidence.BLIND]) * len(seen.evidence.limits)
    blind = dataclasses.replace(seen, evidence=dataclasses.replace(seen.evidence, limits=limits))
    (spot,) = look_again(frame, (), State(particles=(particle(frame),)), blind, 0.8)
    assert spot.wanted


def test_where_little_shows_a_lens_that_is_not_known_yet_is_not_searched_for_dust():
    frame = frame_with(0.02)
    seen = view_in(frame)
    limits = bytes([evidence.BLIND]) * len(seen.evidence.limits)
    blind = dataclasses.replace(seen, evidence=dataclasses.replace(seen.evidence, limits=limits))
    far = particle(frame, places=(dataclasses.replace(particle(frame).places[0], mx=180.0),))
    other = dataclasses.replace(blind, lens="90 mm", width=20_000, height=20_000)
    assert predict(far, other, State().optics).radial_px < predict(far, other, State().optics).radius_px
    farther = particle(frame, places=(dataclasses.replace(particle(frame).places[0], mx=9000.0),))
    assert predict(farther, other, State().optics).radial_px > predict(farther, other, State().optics).radius_px
    assert look_again(frame, (), State(particles=(farther,)), other, 0.8) == ()


def test_an_edge_near_by_does_not_hide_dust():
    plain = frame_with(0.03)
    raw = plain.raw.copy()
    raw[:, 290:] = BLACK + (raw[:, 290:] - BLACK) // 4
    seen = look(dataclasses.replace(plain, raw=raw), dataclasses.replace(HERE, attenuation=0.03), radius_px=11)
    assert seen.snr > LEAST_SNR
    assert seen.shadow.attenuation == pytest.approx(0.03, rel=0.3)


def test_something_much_deeper_is_not_taken_for_the_dust_that_is_known():
    assert again(frame_with(0.3), particle(frame_with(0.3), attenuation=0.02)) == ()


def test_a_suspicion_that_the_light_confirms_is_corrected_at_once():
    frame = frame_with(0.02)
    elsewhere = view_in(frame_with(0.02, texture=0.5, seed=7)).evidence
    suspected = particle(frame, confirmed=False, log_odds=1.3, frames_seen=1)
    sighting = dataclasses.replace(suspected.sightings[0], scene=Scene(frame_id="elsewhere", evidence=elsewhere))
    (spot,) = again(frame, dataclasses.replace(suspected, sightings=(sighting,)))
    assert spot.wanted
    assert spot.reason.endswith("σ, which confirms it")


def test_a_suspicion_is_followed_but_not_corrected():
    frame = frame_with(0.02)
    (spot,) = again(frame, particle(frame, confirmed=False, log_odds=0.0))
    assert not spot.wanted
    assert "not yet confirmed" in spot.reason


def test_a_particle_that_the_detector_found_is_not_looked_for_again():
    frame = frame_with(0.02)
    spot = Spot(id=4, x=240, y=240, diameter_px=28, edge_px=6, attenuation=0.02, score=0.5, particle_id="p1")
    assert again(frame, particle(frame), spots=(spot,)) == ()


def test_a_less_sensitive_user_wants_surer_dust():
    frame = frame_with(0.02, texture=0.0045)
    unsure = particle(frame, log_odds=-0.9)
    assert again(frame, unsure, limit=0.03)
    assert again(frame, unsure, limit=0.9999) == ()


def test_the_score_is_what_the_light_says_without_the_maps_belief():
    frame = frame_with(0.02)
    (doubted,) = again(frame, particle(frame, log_odds=0.0))
    (believed,) = again(frame, particle(frame, log_odds=5.0))
    assert doubted.score == believed.score < 0.5


def test_numbers_of_spots_go_on_where_the_detectors_end():
    frame = frame_with(0.02)
    other = Spot(id=9, x=60, y=60, diameter_px=20, edge_px=6, attenuation=0.1, score=0.9)
    assert [spot.id for spot in again(frame, particle(frame), spots=(other,))] == [10]


def test_the_place_looked_at_is_the_predicted_one():
    frame = frame_with(0.02)
    (spot,) = again(frame, particle(frame))
    at = predict(particle(frame), view_in(frame), State().optics)
    assert np.hypot(spot.x - at.x, spot.y - at.y) <= at.radius_px


def test_a_lens_that_moves_dust_unforeseeably_widens_the_search_outwards_only():
    frame = frame_with(0.03)
    far = dataclasses.replace(HERE, x=200.0, y=240.0, attenuation=0.03)
    assert look(frame, far, radius_px=11).log_ratio < 0
    assert look(frame, far, radius_px=11, radial_px=(0.0, 40.0)).log_ratio < 0
    outwards = look(frame, far, radius_px=11, radial_px=(40.0, 0.0))
    assert abs(outwards.shadow.x - 240) < 6
    assert outwards.snr > LEAST_SNR


def test_the_correction_is_told_what_the_map_knows_of_a_shadow_and_how_surely():
    frame = frame_with(0.02)
    dust, view = particle(frame), view_in(frame_with(0.02))
    here = Spot(id=3, x=HERE.x, y=HERE.y, diameter_px=9, edge_px=3, attenuation=0.3, score=0.5, particle_id=dust.id)
    stranger = dataclasses.replace(here, id=4, particle_id=None)
    known = shadows([here, stranger], State(particles=(dust,)), view)
    assert list(known) == [3]
    assert known[3].shadow.attenuation == pytest.approx(0.02, rel=0.05)
    assert known[3].shadow.diameter_px == pytest.approx(DIAMETER, rel=0.05)
    assert known[3].place_error_px > 0
    often = dataclasses.replace(dust, sightings=dust.sightings * 8)
    assert shadows([here], State(particles=(often,)), view)[3].depth_error < known[3].depth_error
