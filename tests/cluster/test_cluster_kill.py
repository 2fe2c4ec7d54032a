"""SIGKILL of client, scheduler or worker at any moment loses nothing and counts nothing twice."""

import os
import random
import subprocess
import sys
import time

import pytest

pytest.importorskip("distributed", reason="needs dustd[cluster]")

from tests.cluster.studio import ENVIRONMENT, Cluster, clean, crew_with, jobs_of, kill, map_in, shoot_into, written

FRAMES = 4
KILLS = int(os.environ.get("DUSTD_KILLS", "3"))
VICTIMS = ("client", "scheduler", "worker")  # the last lets the run end


@pytest.mark.timeout(550 + 200 * KILLS)
def test_a_run_whose_client_scheduler_and_worker_are_killed_gives_what_an_undisturbed_one_gives(tmp_path):
    shoot = shoot_into(tmp_path / "shoot", FRAMES)
    with crew_with(tmp_path / "plain", tmp_path / "plain.sqlite") as crew:
        assert clean(crew, jobs_of(shoot, tmp_path / "plain")) == {}
    rng = random.Random(20261128)
    cluster = Cluster(tmp_path)
    try:
        for number in range(KILLS):
            out, store = (tmp_path / f"{number // len(VICTIMS)}{end}" for end in ("", ".sqlite"))
            victim = VICTIMS[number % len(VICTIMS)]
            code = disturbed(cluster, victim, [shoot, out, store], rng)
            assert (code == 0) == (victim == "worker")
            if victim == "scheduler":
                cluster.stop()
                cluster = Cluster(tmp_path)
            if victim == "worker" or number == KILLS - 1:
                if victim != "worker":
                    assert run(cluster, [shoot, out, store]).wait() == 0
                assert written(out) == written(tmp_path / "plain")
                assert map_in(store) == map_in(tmp_path / "plain.sqlite")
    finally:
        cluster.stop()


def run(cluster, paths):
    command = [sys.executable, "-m", "tests.cluster.client", str(cluster.file), *map(str, paths)]
    return subprocess.Popen(command, env=ENVIRONMENT, cwd=ENVIRONMENT["PYTHONPATH"])


def disturbed(cluster, victim, paths, rng):
    """Run a client, and kill somebody when a few files more are there; gives the client's exit code."""
    out = paths[1]
    until = files_in(out) + rng.randint(1, 3)
    client = run(cluster, paths)
    while client.poll() is None and files_in(out) < until:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    if victim == "client":
        client.kill()
    elif victim == "scheduler":
        kill(cluster.scheduler.pid)
    else:
        kill(rng.choice(cluster.worker_pids()))
    return client.wait()


def files_in(out):
    """How many files there are, notes and temporary ones, too."""
    return sum(1 for _ in out.iterdir()) if out.is_dir() else 0
