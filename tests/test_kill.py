"""SIGKILL at any moment loses nothing and counts nothing twice: real daemon, pipeline, model and map, small frames."""

import hashlib
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from dustd import config
from dustd.daemon import status
from dustd.demo.scenes import SESSION
from dustd.demo.virtual import Lens, expose, frame_of, make_body
from dustd.dustmap.store import Store
from dustd.output import ledger, sidecar
from dustd.output.dng import encode_dng
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.copied_tags import SourceMetadata
from tests.dips import DOUBTFUL, SURE, Dips
from tests.dips import shot as dips_shot

FRAMES, KILLS = 12, 10
TELE = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78)


def shoot(number: int) -> bytes:
    """One small frame of the virtual body; always the same for the same number."""
    body = make_body("V6-KILL", seed=5, width=640, height=480)
    exposure = expose(
        body,
        SESSION[number % len(SESSION)](np.random.default_rng([5, number]), 480, 640),
        f_number=16,
        lens=TELE,
        seed=number,
        taken_at=f"2026-11-23T10:{number:02d}:00",
        exposure_s=1 / 125,
    )
    preview = np.zeros((240, 320, 3), np.uint8)
    return encode_dng(
        frame_of(exposure), exposure.mosaic, SourceMetadata(), preview_rgb=preview, original_name=f"K{number:02d}.DNG"
    )


def start(config_path: Path, detector) -> int:
    """Fork a daemon with the model already warm; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        serve(config_path, detector)
        code = 0
    finally:
        os._exit(code)


def stop(daemon: int, config_path: Path) -> int:
    """End a daemon with SIGTERM once it listens to signals, as its status tells; return its exit code."""
    path = config_path.parent / "state" / status.FILE_NAME
    until = time.monotonic() + 60
    while not path.exists() or status.decode(path.read_bytes()).pid != daemon:
        assert time.monotonic() < until, "the daemon does not say how it does"
        time.sleep(0.1)
    os.kill(daemon, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(daemon, 0)[1])


def serve(config_path: Path, detector) -> None:
    """What `dustd run` does once the model is loaded."""
    from dustd.daemon import application
    from dustd.daemon.lock import only_one

    settings = config.load(config_path)
    with only_one(settings.map.store.parent), Store.open(settings.map.store) as store, WorkerClient() as worker:
        application.serve(
            settings,
            Pipeline(
                detector=detector,
                store=store,
                worker=worker,
                output=settings.output,
                sensitivity_of=settings.sensitivity_of,
            ),
        )


@pytest.mark.timeout(550)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.weights
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ten_kills_while_twelve_frames_arrive_lose_nothing_and_count_nothing_twice(tmp_path):
    from dustd.detector.model import load_detector

    # OpenVINO and pools of threads do not survive a fork.
    detector = load_detector(engine="torch", device="cpu", threads=1)
    capture = tmp_path / "capture"
    capture.mkdir()
    settings = tmp_path / "config.yaml"
    settings.write_text(
        "folders: [{path: capture}]\nmap: {store: state/maps.sqlite}\nweb: {port: 0}\n"
        "watch: {quiet_s: 0.2, give_up_s: 5, rescan_s: 1}\nlog: {level: warning}\n"
    )
    frames = [shoot(number) for number in range(FRAMES)]
    hashes = {f"K{i:02d}.DNG": hashlib.sha256(data).hexdigest() for i, data in enumerate(frames)}
    rng = random.Random(20261123)
    arrived = 0
    for kill in range(KILLS + 1):
        daemon = start(settings, detector)
        for number in range(arrived, min(FRAMES, arrived + 2)):
            (capture / f"K{number:02d}.DNG").write_bytes(frames[number])
            arrived = number + 1
        if kill < KILLS:
            time.sleep(rng.uniform(0.3, 3.0))
            os.kill(daemon, signal.SIGKILL)
            os.waitpid(daemon, 0)
        else:
            wait_for_all(capture, FRAMES)
            assert stop(daemon, settings) == 0
    check_everything(capture, tmp_path / "state" / "maps.sqlite", hashes)


def wait_for_all(capture: Path, frames: int) -> None:
    until = time.monotonic() + 400
    while time.monotonic() < until:
        done = [
            s for s in capture.glob("*.DNG") if ledger.is_done(s, capture / "Cleaned" / sidecar.sidecar_name(s.name))
        ]
        if len(done) == frames and not list((capture / "Cleaned").glob("*.claim")):
            return
        time.sleep(0.5)
    raise AssertionError(f"only {len(done)} of {frames} frames were finished")


def check_everything(capture: Path, store: Path, hashes: dict[str, str]) -> None:
    """Each original as it was, each with one cleaned file and one sidecar, each frame once in the map."""
    cleaned = capture / "Cleaned"
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in capture.glob("*.DNG")} == hashes
    names = {p.name for p in cleaned.iterdir()}
    assert names == {f"K{i:02d}.dng" for i in range(FRAMES)} | {f"K{i:02d}.DNG.dustd.json" for i in range(FRAMES)}
    records = [sidecar.decode(p.read_bytes()) for p in sorted(cleaned.glob("*.json"))]
    for record in records:
        output = cleaned / record.outputs[0].path
        assert hashlib.sha256(output.read_bytes()).hexdigest() == record.outputs[0].sha256
    with sqlite3.connect(store) as database:
        counted = [row[0] for row in database.execute("SELECT frame_id FROM frames ORDER BY frame_id")]
    database.close()
    assert counted == sorted(record.evidence["frame_id"] for record in records)


REVISITED, REVISIT_KILLS = 6, int(os.environ.get("DUSTD_KILLS", "3"))


@pytest.mark.timeout(550)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_while_frames_are_decided_on_anew_lose_nothing_and_count_nothing_twice(tmp_path):
    made = {}
    for name in ("undisturbed", "killed"):
        settings = tmp_path / name / "config.yaml"
        capture = tmp_path / name / "capture"
        capture.mkdir(parents=True)
        settings.write_text(
            "folders: [{path: capture}]\nmap: {store: state/maps.sqlite}\n"
            "watch: {quiet_s: 0.2, rescan_s: 1}\nlog: {level: warning}\n"
        )
        first_pass(capture, config.load(settings))
        rng, kills = random.Random(20261128), REVISIT_KILLS if name == "killed" else 0
        for _ in range(kills):
            daemon = start(settings, Dips(SURE))
            time.sleep(rng.uniform(0.2, 3.0))
            os.kill(daemon, signal.SIGKILL)
            os.waitpid(daemon, 0)
        daemon = start(settings, Dips(SURE))
        wait_until_all_are_decided_on(capture)
        assert stop(daemon, settings) == 0
        made[name] = told_in(capture), map_of(tmp_path / name / "state" / "maps.sqlite")
    assert made["killed"] == made["undisturbed"]
    assert all(len(corrected) >= 5 for corrected, _ in made["killed"][0].values())


def first_pass(capture: Path, settings: config.Config) -> None:
    """Clean frames as they come; the network doubts what it sees in the first half of them."""
    out = capture / "Cleaned"
    out.mkdir()
    with Store.open(settings.map.store) as store, WorkerClient() as worker:
        pipeline = Pipeline(
            detector=Dips(), store=store, worker=worker, output=settings.output, sensitivity_of=settings.sensitivity_of
        )
        for number in range(REVISITED):
            pipeline.detector.score = DOUBTFUL if number < REVISITED // 2 else SURE
            source = capture / f"R{number}.DNG"
            source.write_bytes(dips_shot(number))
            pipeline.process(source, out)


def told_in(capture: Path):
    """Per frame: where it is corrected, px, and the hash of its cleaned file, which is the only one."""
    out = capture / "Cleaned"
    assert {p.name for p in out.iterdir()} == {
        f"R{n}.{end}" for n in range(REVISITED) for end in ("dng", "DNG.dustd.json")
    }
    found = {}
    for path in sorted(out.glob("*.json")):
        record = sidecar.decode(path.read_bytes())
        sha256 = hashlib.sha256((out / record.outputs[0].path).read_bytes()).hexdigest()
        assert [each.sha256 for each in record.outputs] == [sha256]
        corrected = sorted((round(spot.x), round(spot.y)) for spot in record.spots if spot.action != "left")
        found[record.source.name] = corrected, sha256
    return found


def map_of(store: Path):
    with Store.open(store) as opened:
        return opened.bodies(), [opened.epochs(body_id) for body_id in opened.body_ids()]


def wait_until_all_are_decided_on(capture: Path) -> None:
    out = capture / "Cleaned"
    until = time.monotonic() + 300
    while time.monotonic() < until:
        records = [sidecar.decode(path.read_bytes()) for path in out.glob("*.json")]
        corrected = [sum(spot.action != "left" for spot in record.spots) for record in records]
        if len(records) == REVISITED and min(corrected) >= 5 and not list(out.glob(".dustd-*")):
            return
        time.sleep(0.3)
    raise AssertionError(f"only {corrected} spots are corrected")
