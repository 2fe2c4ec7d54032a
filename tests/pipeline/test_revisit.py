"""Frames that are done are decided on anew with what the map knows now: the network does not look, nothing doubles."""

import contextlib
import hashlib

import pytest
from structlog.testing import capture_logs

from dustd import files
from dustd.config import Config, OutputSettings
from dustd.daemon.revisits import Revisits
from dustd.daemon.watch import WatchedFolder
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.pipeline import deliver as delivering
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.reject import reject
from dustd.pipeline.revisit import CHANGED
from dustd.pipeline.standing import NOT_CLEANED, NOT_KNOWN, OTHER_OUTPUT
from dustd.text import spots_changed
from tests.dips import DOUBTFUL, SURE, Dips, shot

FRAMES = 6


@pytest.fixture(scope="module")
def shots():
    return [shot(number) for number in range(FRAMES)]


@pytest.fixture
def shoot(tmp_path, shots):
    """Six frames on disk, and a folder for what is made of them."""
    out = tmp_path / "out"
    out.mkdir()
    for number, data in enumerate(shots):
        (tmp_path / f"R{number}.DNG").write_bytes(data)
    return [tmp_path / f"R{number}.DNG" for number in range(FRAMES)], out


@pytest.fixture
def pipeline(worker, store):
    output = OutputSettings()
    return Pipeline(detector=Dips(), store=store, worker=worker, output=output, sensitivity_of=lambda *_: 50.0)


def clean(pipeline, sources, out):
    """Clean as they come; the network doubts what it sees in the first half of the frames."""
    for number, source in enumerate(sources):
        pipeline.detector.score = DOUBTFUL if number < FRAMES // 2 else SURE
        pipeline.process(source, out)


def corrected(out, number):
    record = sidecar.decode((out / f"R{number}.DNG.dustd.json").read_bytes())
    return sum(spot.action != "left" for spot in record.spots)


def known(store):
    """All that the map says, of which nothing may double."""
    return store.bodies(), store.epochs(store.body_ids()[0])


def written(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def test_what_the_last_frames_prove_is_corrected_in_the_first_without_another_look(pipeline, store, shoot):
    sources, out = shoot
    clean(pipeline, sources, out)
    before, tiles, told = corrected(out, 0), pipeline.detector.tiles, known(store)
    visits = [pipeline.revisit(source, out) for source in sources]
    assert before == 0 and corrected(out, 0) >= 5
    assert (visits[0].more, visits[0].fewer) == (corrected(out, 0) - before, 0)
    assert pipeline.detector.tiles == tiles
    assert known(store) == told


def test_what_would_change_is_told_and_nothing_written(pipeline, shoot):
    sources, out = shoot
    clean(pipeline, sources, out)
    before = written(out)
    told = [pipeline.revisit(source, out, write=False) for source in sources]
    assert written(out) == before
    done = [pipeline.revisit(source, out) for source in sources]
    assert [(each.more, each.fewer) for each in told] == [(each.more, each.fewer) for each in done]


def test_a_frame_is_read_again_only_when_something_that_matters_has_changed(pipeline, shoot, monkeypatch):
    sources, out = shoot
    clean(pipeline, sources, out)
    visits = [pipeline.revisit(source, out, always=False) for source in sources]
    assert any(visit.differs for visit in visits)
    after = written(out)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.worker, "decode", None)  # a call would fail
        for source in sources:
            assert not pipeline.revisit(source, out, always=False).differs
    assert written(out) == after
    pipeline.sensitivity_of = lambda *_: 0.0
    pipeline.revisit(sources[3], out, always=False)
    assert written(out) != after  # it was read, and that is noted


def test_a_sensitivity_that_changes_no_spot_is_noted_all_the_same(pipeline, shoot):
    (source, *_), out = shoot
    pipeline.process(source, out)
    pipeline.sensitivity_of = lambda *_: 50.5
    visit = pipeline.revisit(source, out)
    assert not visit.differs
    noted = sidecar.decode((out / "R0.DNG.dustd.json").read_bytes()).detector
    assert noted == visit.record.detector and noted.sensitivity == 50.5
    assert not pipeline.revisit(source, out, always=False).differs


def test_a_frames_own_sighting_confirms_nothing_however_often_it_is_decided_on(pipeline, store, shoot):
    (source, *_), out = shoot
    pipeline.process(source, out)
    before, told = written(out), known(store)
    for _ in range(3):
        assert not pipeline.revisit(source, out).differs
    assert corrected(out, 0) == 0 and known(store) == told
    assert {name for name, sha256 in written(out).items() if sha256 != before[name]} <= {"R0.DNG.dustd.json"}


def test_a_frame_gets_what_it_would_get_if_it_came_last(pipeline, shoot, tmp_path):
    """Its own sighting is in the map when it is decided on anew, and must not count for more than in its turn."""
    sources, out = shoot
    clean(pipeline, sources, out)
    last = tmp_path / "last"
    last.mkdir()
    with Store.open(":memory:") as without:
        for number in range(1, FRAMES):
            without.observe(sidecar.decode((out / f"R{number}.DNG.dustd.json").read_bytes()))
        come = replaced(pipeline, store=without)
        come.detector.score = DOUBTFUL
        come.process(sources[0], last)
    pipeline.revisit(sources[0], out)
    assert places(out) == places(last)


def places(out):
    """Where the first frame is corrected, px."""
    spots = sidecar.decode((out / "R0.DNG.dustd.json").read_bytes()).spots
    return sorted((round(spot.x), round(spot.y)) for spot in spots if spot.action != "left")


def replaced(pipeline, store):
    """The same pipeline with another map."""
    return Pipeline(
        detector=pipeline.detector,
        store=store,
        worker=pipeline.worker,
        output=pipeline.output,
        sensitivity_of=pipeline.sensitivity_of,
    )


def test_a_cleaned_file_that_another_program_has_changed_is_left_alone(pipeline, shoot):
    sources, out = shoot
    clean(pipeline, sources, out)
    cleaned = out / "R0.dng"
    cleaned.write_bytes(cleaned.read_bytes() + b"edited")
    edited = cleaned.read_bytes()
    visit = pipeline.revisit(sources[0], out)
    assert visit.differs and visit.left_alone == CHANGED and not visit.undone
    assert cleaned.read_bytes() == edited and corrected(out, 0) == 0


def test_a_frame_that_is_not_cleaned_or_whose_cleaned_file_is_gone_is_not_decided_on(pipeline, shoot):
    (source, *_), out = shoot
    visit = pipeline.revisit(source, out)
    assert (visit.record, visit.left_alone, visit.undone) == (None, NOT_CLEANED, True)
    pipeline.process(source, out)
    (out / "R0.dng").unlink()
    visit = pipeline.revisit(source, out)
    assert (visit.left_alone, visit.undone) == (OTHER_OUTPUT, True)
    assert not (out / "R0.dng").exists()


def test_a_map_that_was_forgotten_takes_no_correction_back(pipeline, store, shoot):
    sources, out = shoot
    clean(pipeline, sources, out)
    before = written(out)
    store.forget(store.body_ids()[0])
    visit = pipeline.revisit(sources[-1], out)
    assert visit.left_alone == NOT_KNOWN and written(out) == before


def test_what_a_person_has_rejected_stays_rejected(pipeline, worker, store, shoot):
    sources, out = shoot
    clean(pipeline, sources, out)
    pipeline.revisit(sources[0], out)
    path = out / "R0.DNG.dustd.json"
    spot = next(each for each in sidecar.decode(path.read_bytes()).spots if each.action != "left")
    reject(path, [spot.id], worker=worker, store=store, settings=Config(), labelled=None, source=sources[0])
    left = corrected(out, 0)
    for _ in range(2):
        pipeline.revisit(sources[0], out)
    there = [
        each for each in sidecar.decode(path.read_bytes()).spots if abs(each.x - spot.x) + abs(each.y - spot.y) < 5
    ]
    assert corrected(out, 0) == left and all(each.action == "left" for each in there)


def test_the_daemon_visits_each_frame_once_for_what_the_map_has_learnt_and_not_again_after_a_restart(
    pipeline, shoot, tmp_path, monkeypatch
):
    def turns():
        revisits, improved, more = Revisits(pipeline, [WatchedFolder(path=tmp_path, output=out)], 24.0), [], True
        while more:
            each, more = revisits.turn()
            improved += [each.source.name] if each else []
        return improved

    sources, out = shoot
    clean(pipeline, sources, out)
    looked = pipeline.detector.tiles
    assert set(turns()) == {"R0.DNG", "R1.DNG"}  # the last has nothing left to gain
    assert pipeline.detector.tiles == looked and corrected(out, 0) >= 5
    monkeypatch.setattr(pipeline.worker, "decode", None)  # a call would be an error that is logged
    with capture_logs() as logs:
        assert turns() == [] and logs == []


@pytest.mark.parametrize("stopped_at", [".dng", ".json"])
def test_a_kill_between_two_steps_loses_nothing_and_doubles_nothing(pipeline, store, shoot, monkeypatch, stopped_at):
    class Killed(BaseException):
        pass

    publish = files.publish

    def killed(path, data, **how):
        publish(path, data, **how)
        if path.suffix == stopped_at:
            raise Killed

    sources, out = shoot
    clean(pipeline, sources, out)
    told = known(store)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(delivering.files, "publish", killed)
        pipeline.revisit(sources[0], out)
    if pipeline.revisit(sources[0], out).undone:  # then it is cleaned like any that a kill has interrupted
        pipeline.process(sources[0], out)
    assert sorted(written(out)) == sorted(f"R{n}.{end}" for n in range(FRAMES) for end in ("DNG.dustd.json", "dng"))
    assert corrected(out, 0) >= 5 and known(store) == told


@pytest.mark.parametrize(
    ("more", "fewer", "words"),
    [(1, 0, "1 more spot"), (3, 1, "3 more spots, 1 spot fewer"), (0, 2, "2 spots fewer"), (0, 0, "nothing changes")],
)
def test_a_difference_spots_changed(more, fewer, words):
    assert spots_changed(more, fewer) == words
