"""A Dask cluster of separate processes does what one process does, and nothing that is killed in it loses a frame."""

import os
import shutil

import pytest

pytest.importorskip("distributed", reason="needs dustd[cluster]")

from distributed import get_task_stream

from dustd.cluster.paths import PathMap
from dustd.errors import UsageError
from tests.cluster.studio import Cluster, clean, crew_with, jobs_of, kill, map_in, shoot_into, written

FRAMES = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A shoot, and what is made of it in one process."""
    root = tmp_path_factory.mktemp("plain")
    folder = shoot_into(root / "shoot", FRAMES)
    with crew_with(root / "out", root / "maps.sqlite") as crew:
        assert clean(crew, jobs_of(folder, root / "out")) == {}
    return folder, written(root / "out"), map_in(root / "maps.sqlite")


def test_cleaned_files_sidecars_and_map_are_those_of_a_run_without(cluster, plain, tmp_path):
    folder, pictures, dust_map = plain
    with cluster.client() as client, crew_with(tmp_path / "out", tmp_path / "maps.sqlite", client) as crew:
        jobs = jobs_of(folder, tmp_path / "out")
        crew.require_fit(jobs[0].source)
        assert clean(crew, jobs) == {}
    assert written(tmp_path / "out") == pictures
    assert map_in(tmp_path / "maps.sqlite") == dust_map
    assert sum(spot["action"] != "left" for spot in pictures["R0.DNG.dustd.json"]["spots"]) >= 5


def test_workers_may_name_the_shared_folder_otherwise(cluster, plain, tmp_path):
    folder, pictures, dust_map = plain
    here, there = tmp_path / "here", tmp_path / "there"
    jobs = jobs_of(shutil.copytree(folder, here / "shoot"), here / "out")
    paths = PathMap.read([f"{here}={there}"])
    with cluster.client() as client, crew_with(here / "out", tmp_path / "maps.sqlite", client, paths) as crew:
        with pytest.raises(UsageError, match="--map-path"):
            crew.require_fit(jobs[0].source)
        there.symlink_to(here)
        crew.require_fit(jobs[0].source)
        assert clean(crew, jobs) == {}
    assert written(here / "out") == pictures
    assert map_in(tmp_path / "maps.sqlite") == dust_map


def test_frames_are_looked_at_where_there_is_a_gpu(cluster, plain, tmp_path):
    folder, pictures, _ = plain

    async def declare(gpus, dask_worker):
        await dask_worker.set_resources(GPU=gpus)

    with cluster.client() as client, crew_with(tmp_path / "out", tmp_path / "maps.sqlite", client) as crew:
        client.wait_for_workers(2)
        chosen = min(client.scheduler_info()["workers"])
        client.run(declare, 1, workers=[chosen])
        with get_task_stream(client) as stream:
            assert clean(crew, jobs_of(folder, tmp_path / "out")) == {}
        client.run(declare, 0, workers=[chosen])
    assert {task["worker"] for task in stream.data if task["key"].startswith("see-")} == {chosen}
    assert written(tmp_path / "out") == pictures


def test_a_lost_workers_frames_are_done_by_others(cluster, plain, tmp_path):
    folder, pictures, dust_map = plain
    with cluster.client() as client, crew_with(tmp_path / "out", tmp_path / "maps.sqlite", client) as crew:
        client.wait_for_workers(2)

        def kill_one(number):
            if number == 2:
                kill(min(client.run(os.getpid).values()))

        assert clean(crew, jobs_of(folder, tmp_path / "out"), looked=kill_one, done=kill_one) == {}
    assert written(tmp_path / "out") == pictures
    assert map_in(tmp_path / "maps.sqlite") == dust_map


def test_a_file_that_brings_its_worker_down_costs_its_frame_after_two_tries(cluster, plain, tmp_path):
    folder = shoot_into(tmp_path / "shoot", 2)
    (folder / "POISON.DNG").write_bytes((plain[0] / "R2.DNG").read_bytes())
    with cluster.client() as client, crew_with(tmp_path / "out", tmp_path / "maps.sqlite", client) as crew:
        bad = clean(crew, jobs_of(folder, tmp_path / "out"))
    assert [(job.source.name, outcome.failed.status) for job, outcome in bad.items()] == [("POISON.DNG", "failed")]
    names = {"POISON.DNG.dustd.json", *(f"R{n}.{end}" for n in range(2) for end in ("dng", "DNG.dustd.json"))}
    assert set(written(tmp_path / "out")) == names
