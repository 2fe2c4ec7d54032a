"""The light core: all that a shoot needs works where nothing but it is installed.

Here the extras' libraries are hidden from an interpreter that has them; `.ci/run` installs the wheel without them.
"""

import json
import subprocess
import sys
import time

import pytest

from dustd.demo.child import Daemon

EXTRAS = ("torch", "torchvision", "rfdetr", "transformers", "matplotlib", "scipy", "dask", "distributed", "bokeh")
# Run by every interpreter that is started with its folder in PYTHONPATH, the daemon's worker process, too.
HIDING = f"""
import importlib.machinery

def _hiding(name, path=None, target=None, find=importlib.machinery.PathFinder.find_spec):
    return None if name.partition(".")[0] in {EXTRAS!r} else find(name, path, target)

importlib.machinery.PathFinder.find_spec = staticmethod(_hiding)
"""
TOLD_AT_START = ["starting", "model_ready", "ready", "folder_watched"]
RUN = """
folders:
  - path: shots
watch: {quiet_s: 0.3}
map: {store: maps.sqlite}
web: {port: 0}
model: {threads: 1}
"""


@pytest.fixture
def light(handicapped):
    """Hide the extras; gives a function that says something to dustd."""
    dustd = handicapped(HIDING)
    assert subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 1
    return dustd


def status_in(sidecar):
    return json.loads(sidecar.read_text())["status"]


def test_frames_are_cleaned_and_reported_on(light, tmp_path):
    done = light("clean", "shots", "-o", "cleaned", "--store", "maps.sqlite")
    assert done.returncode == 0, done.stderr
    assert status_in(tmp_path / "cleaned" / "SHOT.DNG.dustd.json") == "cleaned"
    report = light("report", "--store", "maps.sqlite")
    assert report.returncode == 0 and "V6-TEST" in report.stdout


def test_the_daemon_cleans(light, tmp_path):
    (tmp_path / "config.yaml").write_text(RUN)
    sidecar = tmp_path / "shots" / "Cleaned" / "SHOT.DNG.dustd.json"
    with Daemon(tmp_path / "config.yaml", tmp_path / "log") as daemon:
        daemon.wait_until_ready()
        until = time.monotonic() + 60
        while not sidecar.exists() and time.monotonic() < until:
            daemon.hear()
        assert daemon.stop() == 0
    assert status_in(sidecar) == "cleaned"
    told = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert [each for each in told if each in TOLD_AT_START] == TOLD_AT_START


def test_what_needs_an_extra_names_it(light, tmp_path):
    for words in (["train", "--photos", "shots"], ["evaluate", "--photos", "shots"]):
        done = light(*words)
        assert done.returncode == 2
        assert "torch" in done.stderr and "pip install 'dustd[train]'" in done.stderr
    done = light("clean", "shots", "-o", "cleaned", "--cluster", "local")
    assert done.returncode == 2 and "pip install 'dustd[cluster]'" in done.stderr
    for model in ("{engine: torch}", "{device: cuda}"):
        (tmp_path / "config.yaml").write_text(f"model: {model}\n")
        done = light("clean", "shots", "-o", "cleaned", "--store", ":memory:", "-c", "config.yaml")
        assert done.returncode == 78
        assert "pip install 'dustd[gpu]'" in done.stderr
        assert not list(tmp_path.glob("cleaned/*"))


def test_check_says_what_runs_the_model_and_what_the_extra_would_bring(light, tmp_path):
    (tmp_path / "config.yaml").write_text(RUN)
    done = light("check", "-c", "config.yaml")
    (device,) = [line for line in done.stdout.splitlines() if "device:" in line and "cpu" in line]
    assert "openvino" in device
    assert "dustd[gpu]" in done.stdout
