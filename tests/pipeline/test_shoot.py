"""A shoot as a whole: all frames are seen, the map folds over them, each is decided on and delivered."""

import os

import pytest

from dustd.config import Config, OutputSettings
from dustd.errors import FrameError
from dustd.output import sidecar
from dustd.pipeline import shoot as shoots
from dustd.pipeline.crew import Here
from dustd.pipeline.reject import reject
from dustd.pipeline.shoot import Job, Shoot, waves
from tests.dips import DOUBTFUL, SURE, Dips, shot

FRAMES = 4


@pytest.fixture(scope="module")
def shots():
    return [shot(number) for number in range(FRAMES)]


@pytest.fixture
def jobs(tmp_path, shots):
    """Four frames on disk."""
    (tmp_path / "out").mkdir()
    for number, data in enumerate(shots):
        (tmp_path / f"R{number}.DNG").write_bytes(data)
    return [Job(source=tmp_path / f"R{n}.DNG", out_folder=tmp_path / "out", body_id="a") for n in range(FRAMES)]


@pytest.fixture
def start(worker, store):
    """Begin a run."""

    def begin():
        return Shoot(
            detector=Dips(), store=store, worker=worker, output=OutputSettings(), sensitivity_of=lambda *_: 50.0
        )

    return begin


def look(run, jobs):
    """Look at frames; the first one is doubtful."""
    for number, job in enumerate(jobs):
        run.detector.score = DOUBTFUL if number == 0 else SURE
        run.see(job.source, job.out_folder)


def corrected(out, number):
    record = sidecar.decode((out / f"R{number}.DNG.dustd.json").read_bytes())
    return sum(spot.action != "left" for spot in record.spots)


def names(out):
    return sorted(path.name for path in out.iterdir())


WHOLE = sorted(f"R{number}.{end}" for number in range(FRAMES) for end in ("dng", "DNG.dustd.json"))


def test_nothing_is_delivered_before_all_is_seen_and_the_first_frame_gets_what_the_last_prove(start, store, jobs):
    run, out = start(), jobs[0].out_folder
    look(run, jobs)
    assert all(name.endswith(".seen") for name in names(out)) and store.bodies() == ()
    for job in jobs:
        run.fold(job.source, out)
    for job in jobs:
        run.finish(job.source, out)
    assert names(out) == WHOLE and all(corrected(out, number) >= 5 for number in range(FRAMES))
    assert [body.frames for body in store.bodies()] == [FRAMES]


def test_a_run_that_is_cut_off_in_any_act_goes_on_without_another_look(start, store, jobs):
    first, out = start(), jobs[0].out_folder
    look(first, jobs)
    first.fold(jobs[0].source, out)
    first.fold(jobs[1].source, out)
    second = start()
    crew = Here(second, out)
    assert all(outcome.is_fine for _, outcome in crew.look_at_all(jobs))
    assert second.finish(jobs[0].source, out).record.status == "cleaned"
    third = Here(start(), out)
    assert all(outcome.is_fine for _, outcome in third.look_at_all(jobs))
    assert all(outcome.is_fine for _, outcome in third.finish(jobs, always=False))
    assert second.detector.tiles == third.shoot.detector.tiles == 0
    assert names(out) == WHOLE and [body.frames for body in store.bodies()] == [FRAMES]


def test_what_was_seen_of_another_file_or_by_other_weights_is_seen_again(start, jobs):
    run, (job, other, *_) = start(), jobs
    run.see(job.source, job.out_folder)
    tiles = run.detector.tiles
    job.source.write_bytes(other.source.read_bytes())
    os.utime(job.source, ns=(1, 1))
    run.see(job.source, job.out_folder)
    assert run.detector.tiles == 2 * tiles
    run.detector.sha256 = "e" * 64
    run.see(job.source, job.out_folder)
    assert run.detector.tiles == 3 * tiles


def test_what_a_person_rejected_stays_rejected_when_other_weights_look(start, store, worker, jobs):
    run, job = start(), jobs[1]
    run.detector.score = SURE
    run.process(job.source, job.out_folder)
    path = job.out_folder / "R1.DNG.dustd.json"
    spot = next(each for each in sidecar.decode(path.read_bytes()).spots if each.action != "left")
    reject(path, [spot.id], worker=worker, store=store, settings=Config(), labelled=None, source=job.source)
    store.forget(store.body_ids()[0])
    run.detector.sha256 = "e" * 64
    run.see(job.source, job.out_folder)
    run.fold(job.source, job.out_folder)
    record = run.finish(job.source, job.out_folder).record
    there = [each for each in record.spots if abs(each.x - spot.x) + abs(each.y - spot.y) < 5]
    assert there and all(each.rejected and each.action == "left" for each in there)


def test_a_frame_whose_note_is_gone_fails_by_itself(start, jobs):
    run, job = start(), jobs[0]
    with pytest.raises(FrameError, match="gone"):
        run.fold(job.source, job.out_folder)


def test_the_first_frames_of_each_body_go_before_the_others(jobs, monkeypatch):
    monkeypatch.setattr(shoots, "SCOUTS", 1)
    other = Job(source=jobs[0].source.with_name("B.DNG"), out_folder=jobs[0].out_folder, body_id="b")
    assert waves([*jobs[:2], other, *jobs[2:]]) == ((jobs[0], other), (*jobs[1:],))
