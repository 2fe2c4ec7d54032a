"""`dustd correct`: what is corrected where a person points, what the sidecar and the map say, and that it stays."""

import contextlib
import json
import math
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from dustd import files
from dustd.cli.main import main
from dustd.config import OutputSettings
from dustd.demo.verdict import is_visible
from dustd.dustmap.store import Store
from dustd.errors import FrameError, SurroundingsError, UsageError
from dustd.output import sidecar
from tests.shoots import Shoot, around, samples

SCHEMA = json.loads(Path(sidecar.__file__).with_name("sidecar.schema.json").read_text())


class Refusing:
    """A detector that must not be asked."""

    def __init__(self, detector):
        self._detector = detector

    def __getattr__(self, name):
        return getattr(self._detector, name)

    def __call__(self, tiles):
        raise AssertionError("the network was asked")


@pytest.fixture(scope="session")
def unseen_once(tmp_path_factory, blind, worker, dusty_shot):
    """A frame of which the detector saw nothing."""
    shoot = Shoot(tmp_path_factory.mktemp("unseen"), worker)
    shoot.source.parent.mkdir()
    shoot.out.mkdir()
    shoot.source.write_bytes(dusty_shot[1])
    with shoot.store() as store:
        shoot.clean(blind, store)
    return shoot.home


@pytest.fixture
def unseen(unseen_once, worker, tmp_path):
    shutil.copytree(unseen_once, tmp_path / "unseen")
    return Shoot(tmp_path / "unseen", worker)


@pytest.fixture(scope="session")
def grain(dusty_shot):
    """A shadow that a person sees plainly, far from others."""
    shadows = dusty_shot[0].shadows

    def clear(shadow):
        return min(math.hypot(shadow.x - o.x, shadow.y - o.y) for o in shadows if o != shadow) > 60

    plain = [s for s in shadows if is_visible(s, dusty_shot[0].clean) and clear(s) and 0.03 < s.attenuation < 0.4]
    return max(plain, key=lambda shadow: min(shadow.y, 700 - shadow.y))


@pytest.fixture(scope="session")
def plain_place(dusty_shot):
    """A place of the backdrop without dust."""
    shadows = dusty_shot[0].shadows
    grid = [(x, y) for x in range(60, 960, 20) for y in range(60, 400, 20)]
    return max(grid, key=lambda at: min(math.hypot(s.x - at[0], s.y - at[1]) for s in shadows))


def asked(shoot):
    return next(spot for spot in shoot.record.spots if spot.asked)


def particles(shoot):
    with shoot.store() as store:
        (body,) = store.body_ids()
        return store.state(body).particles


def test_the_light_comes_back_and_all_other_samples_stay(unseen, grain, dusty_shot):
    before = samples(unseen.source)
    unseen.correct(grain.x + 2, grain.y - 2)
    after = samples(unseen.cleaned)
    here = around(asked(unseen), before.shape)
    assert np.array_equal(after[~here], before[~here])
    core = np.hypot(*(np.indices(before.shape) - np.array([grain.y, grain.x])[:, None, None])) < grain.diameter_px / 2
    wrong = [np.abs(each[core].astype(float) - dusty_shot[0].clean[core]).mean() for each in (before, after)]
    assert wrong[1] < 0.4 * wrong[0]


def test_the_sidecar_says_that_a_person_asked(unseen, grain):
    assert unseen.record.status == "clean"
    told = unseen.correct(grain.x, grain.y)
    spot = asked(unseen)
    assert told.changed == told.spots == (spot.id,) and told.counted
    assert (spot.action, spot.wanted) == ("divided", False)
    assert spot.reason.startswith("corrected: a person asked for it; ")
    assert math.hypot(spot.x - grain.x, spot.y - grain.y) < 2
    assert unseen.record.status == "cleaned"
    assert unseen.record.outputs[0].sha256 == files.sha256_file(unseen.cleaned)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(unseen.sidecar.read_text()))


def test_undo_gives_the_very_same_file_and_sidecar_back(unseen, grain):
    data, record, before = unseen.cleaned.read_bytes(), unseen.record, particles(unseen)
    unseen.correct(grain.x, grain.y)
    unseen.correct(grain.x, grain.y, undo=True)
    assert unseen.cleaned.read_bytes() == data
    assert unseen.record == record
    assert particles(unseen) == before


def test_a_listed_spot_is_corrected_as_it_was_measured_and_undone_to_what_it_was(shoot, detector):
    could_be = shoot.corrected()[0]
    place = shoot.spot(could_be)
    with shoot.store() as store:
        shoot.clean(Refusing(detector), store, sensitivity=0.0)
    spot = min(shoot.record.spots, key=lambda each: math.hypot(each.x - place.x, each.y - place.y))
    assert spot.action == "left"
    shoot.correct(spot.x, spot.y)
    data, after = shoot.cleaned.read_bytes(), shoot.spot(spot.id)
    assert after.action != "left" and after.asked
    assert (after.x, after.y, after.diameter_px, after.attenuation) == (
        spot.x,
        spot.y,
        spot.diameter_px,
        spot.attenuation,
    )
    shoot.correct(spot.x, spot.y, undo=True)
    assert shoot.spot(spot.id) == spot
    assert shoot.cleaned.read_bytes() != data


def test_saying_it_twice_changes_nothing(unseen, grain):
    unseen.correct(grain.x, grain.y)
    data, before = unseen.cleaned.read_bytes(), particles(unseen)
    told = unseen.correct(grain.x + 1, grain.y)
    assert told.changed == () and told.spots == (asked(unseen).id,)
    assert unseen.cleaned.read_bytes() == data and particles(unseen) == before


def test_it_is_a_sighting_in_the_map(unseen, grain):
    assert not particles(unseen)
    unseen.correct(grain.x, grain.y)
    (particle,) = particles(unseen)
    assert (particle.frames_seen, particle.confirmed) == (1, False)


def test_the_map_learns_it_from_the_sidecar_too(unseen, grain):
    unseen.correct(grain.x, grain.y)
    with Store.open(":memory:") as store:
        assert store.rebuild([unseen.record]) == 1
        (body,) = store.body_ids()
        assert len(store.state(body).particles) == 1


@pytest.mark.parametrize("sensitivity", [0.0, 30.0])
def test_it_stays_when_the_frame_is_decided_on_anew_without_the_network(unseen, grain, detector, sensitivity):
    unseen.correct(grain.x, grain.y)
    data, before = unseen.cleaned.read_bytes(), asked(unseen)
    with unseen.store() as store:
        record = unseen.clean(Refusing(detector), store, sensitivity=sensitivity)
    assert record.detector.sensitivity == sensitivity
    after = asked(unseen)
    assert (after.x, after.y, after.attenuation, after.action) == (before.x, before.y, before.attenuation, "divided")
    assert "corrected: a person asked for it" in after.reason
    assert np.array_equal(samples(unseen.cleaned), samples_of(data, unseen))


def test_it_stays_when_the_cleaned_file_is_made_anew_in_another_format(unseen, grain, detector):
    unseen.correct(grain.x, grain.y)
    with unseen.store() as store:
        unseen.clean(Refusing(detector), store, format="tiff")
    assert asked(unseen).action == "divided" and unseen.record.outputs[0].kind == "tiff"


def test_a_frame_without_a_cleaned_file_gets_one(unseen, grain, detector):
    skipping = {"when_clean": "skip", "edits": ("darktable",)}
    with unseen.store() as store:
        unseen.clean(Refusing(detector), store, **skipping)
    assert not unseen.record.outputs
    unseen.correct(grain.x, grain.y, output=OutputSettings(**skipping))
    assert [each.kind for each in unseen.record.outputs] == ["dng", "darktable"]
    assert not np.array_equal(samples(unseen.cleaned), samples(unseen.source))


def test_what_was_asked_for_can_be_rejected_and_comes_back_with_its_undo(unseen, grain):
    unseen.correct(grain.x, grain.y)
    data, spot = unseen.cleaned.read_bytes(), asked(unseen)
    unseen.reject(spot.id)
    assert asked(unseen).action == "left"
    unseen.reject(spot.id, undo=True)
    assert unseen.cleaned.read_bytes() == data


def test_what_was_asked_for_and_rejected_does_not_come_back(unseen, grain, detector):
    unseen.correct(grain.x, grain.y)
    unseen.reject(asked(unseen).id)
    assert np.array_equal(samples(unseen.cleaned), samples(unseen.source))
    with pytest.raises(UsageError, match="rejected by a person"):
        unseen.correct(grain.x, grain.y)
    with unseen.store() as store:
        assert unseen.clean(Refusing(detector), store, sensitivity=30.0).status == "clean"


def samples_of(data, shoot):
    path = shoot.home / "before.dng"
    path.write_bytes(data)
    return samples(path)


def test_where_nothing_can_be_measured_it_says_so_and_changes_nothing(unseen, plain_place, dusty_shot):
    data = unseen.sidecar.read_bytes()
    with pytest.raises(UsageError, match=r"nothing was corrected .* no loss of light"):
        unseen.correct(*plain_place)
    for place in ((-1, 10), (10, 720), (1000, 10), (math.inf, 3)):
        with pytest.raises(UsageError, match="outside the frame, which has 1000 × 720"):
            unseen.correct(*place)
    with pytest.raises(UsageError, match="nobody asked"):
        unseen.correct(*plain_place, undo=True)
    assert unseen.sidecar.read_bytes() == data


def test_a_spot_that_is_corrected_already_is_named(shoot):
    spot = shoot.spot(shoot.corrected()[0])
    with pytest.raises(UsageError, match=f"spot {spot.id} .* is corrected already"):
        shoot.correct(spot.x, spot.y)


def test_a_cleaned_file_that_somebody_edited_is_not_replaced(unseen, grain):
    edited = unseen.cleaned.read_bytes() + b"rating"
    unseen.cleaned.write_bytes(edited)
    with pytest.raises(FrameError, match="changed it since"):
        unseen.correct(grain.x, grain.y)
    assert unseen.cleaned.read_bytes() == edited


def test_a_kill_before_the_map_is_finished_by_the_same_command(unseen, grain, monkeypatch):
    def judged(*_):
        raise SurroundingsError("killed", remedy="")

    with monkeypatch.context() as patch, contextlib.suppress(SurroundingsError):
        patch.setattr(Store, "judge", judged)
        unseen.correct(grain.x, grain.y)
    assert files.is_claimed(unseen.sidecar) and not particles(unseen)
    unseen.correct(grain.x, grain.y)
    assert not files.is_claimed(unseen.sidecar) and len(particles(unseen)) == 1


def test_an_example_for_training_holds_the_dust(unseen, grain):
    unseen.correct(grain.x, grain.y)
    (labels,) = [json.loads(path.read_text()) for path in unseen.labelled.glob("*.json")]
    assert labels["info"]["description"] == "asked for by a person"
    assert len(labels["annotations"]) == 1
    unseen.correct(grain.x, grain.y, undo=True)
    assert not list(unseen.labelled.iterdir())


def test_the_command_says_what_became_of_it(unseen, grain, capsys):
    place = f"{grain.x:.0f},{grain.y:.0f}"
    maps = ["--store", str(unseen.home / "maps.sqlite")]
    assert main(["correct", *maps, str(unseen.cleaned), place]) == 0
    said = capsys.readouterr().out
    assert "divided; corrected: a person asked for it;" in said and "does not know" not in said
    assert main(["correct", *maps, str(unseen.cleaned), place, "--undo"]) == 0
    assert "as if nobody had asked" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["12", "12,", "a,b", "1,nan", "1,2,3"])
def test_what_is_no_place_is_refused(place, capsys):
    with pytest.raises(SystemExit):
        main(["correct", "frame.dng", place])
    assert "is not a place" in capsys.readouterr().err
