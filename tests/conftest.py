"""What many tests need: the shared data, where there are any."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import structlog
from hypothesis import settings

from dustd import log

settings.register_profile("untimed", deadline=None)  # a busy computer is no reason to fail
settings.load_profile("untimed")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_CASES = SHARED_DATA.with_name("cases")

# Tests start some hundred processes, and each would compile dustd's modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Tests run beside one another: threads of libraries' own, which wait by spinning, would take the cores from each other.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")


def pytest_xdist_auto_num_workers(config):
    """Say how many processes share the whole suite: one per core.

    Tests that are named run in this process: they are few, and starting workers takes longer.
    """
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return 0
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None  # xdist reads it
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items):
    """Mark what needs the shipped weights."""
    for item in items:
        if "detector" in getattr(item, "fixturenames", ()):
            item.add_marker("weights")


@pytest.fixture(autouse=True)
def logging_as_imported():
    """Forget how a test before set logging up: a filtered level would hide events that the next one looks for."""
    log.insist_on(None)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real RAW files and photographs; tests that need it skip in a user's clone."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is not here")
    return SHARED_DATA


@pytest.fixture
def case(tmp_path):
    """Make the inputs of a shared case by its name, in a folder of the test's own; skip where there is none."""

    def make(name: str) -> Path:
        if not (SHARED_CASES / name).is_dir():
            pytest.skip("shared/cases is not here")
        for each in ("common", name):
            shutil.copytree(SHARED_CASES / each, tmp_path / each, copy_function=shutil.copyfile)
            (tmp_path / each).chmod(0o755)
        subprocess.run([sys.executable, tmp_path / name / "make.py"], check=True, capture_output=True)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def detector():
    """The shipped model, loaded once; one thread, so that two cores serve two test runs."""
    from dustd.detector.model import load_detector

    return Remembering(load_detector(device="cpu", threads=1))


class Remembering:
    """A detector that is asked about each tile once: many tests clean the same frame."""

    def __init__(self, detector):
        self._detector = detector
        self._answers = {}

    def __getattr__(self, name):
        return getattr(self._detector, name)

    def __call__(self, tiles):
        keys = [hashlib.sha256(tile.tobytes()).digest() for tile in tiles]
        new = {key: tile for key, tile in zip(keys, tiles, strict=True) if key not in self._answers}
        if new:
            answers = self._detector(np.stack(list(new.values())))
            self._answers.update(zip(new, answers, strict=True))
        return [self._answers[key] for key in keys]


@pytest.fixture(scope="session")
def worker():
    """A worker process that decodes, corrects and encodes, kept for all tests."""
    from dustd.pipeline.worker_client import WorkerClient

    with WorkerClient() as opened:
        yield opened


@pytest.fixture(scope="session")
def dusty_shot():
    """A small frame of the virtual body at f/16 before a plain studio backdrop, and its DNG."""
    from dustd.demo.scenes import SESSION
    from dustd.demo.virtual import Lens, expose, frame_of, make_body
    from dustd.output.dng import encode_dng
    from dustd.raw.copied_tags import SourceMetadata

    body = make_body("V6-TEST", seed=11, width=1000, height=720)
    scene = next(scene for scene in SESSION if scene.__name__ not in ("sky_over_hills", "clouds_over_sea"))
    exposure = expose(
        body,
        scene(np.random.default_rng(4), 720, 1000),
        f_number=16,
        lens=Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78),
        seed=9,
        taken_at="2026-11-23T10:00:00",
        exposure_s=1 / 125,
    )
    preview = np.zeros((360, 500, 3), np.uint8)
    data = encode_dng(
        frame_of(exposure), exposure.mosaic, SourceMetadata(), preview_rgb=preview, original_name="SHOT.DNG"
    )
    return exposure, data


@pytest.fixture(scope="session")
def particle():
    """Make a particle that takes *at_16* of the light at f/16; its shadow there is 25.6 px wide."""
    from dustd.dustmap.particle import Particle
    from dustd.spots import optics

    def make(number=0, *, at_16=0.1, first_seen="2026-11-01T10:00:00", **changes):
        usual = {
            "id": f"p{number:012x}",
            "mx": 0.0,
            "my": 0.0,
            "strength_px2": optics.strength_px2(at_16, 409 / 16),
            "blur_constant": 409.0,
            "opacity": 1.0,
            "log_odds": 4.0,
            "confirmed": True,
            "first_seen": first_seen,
            "last_seen": first_seen,
            "frames_seen": 3,
            "f_numbers": (8.0, 16.0),
            "sightings": (),
        }
        return Particle(**{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def dust():
    """Make a body's map: three weeks of use, never cleaned."""
    from dustd.dustmap.particle import DustMap

    def make(*particles, **changes):
        usual = {
            "body_id": "Nikon Z 8 #123",
            "make": "Nikon",
            "model": "Z 8",
            "width": 6000,
            "height": 4000,
            "frames": 30,
            "frames_stopped_down": 20,
            "first_frame_at": "2026-11-01T10:00:00+01:00",
            "last_frame_at": "2026-11-20T18:30:00+01:00",
            "cleanings": (),
            "particles": particles,
        }
        return DustMap(**{**usual, **changes})

    return make


@pytest.fixture
def server():
    """A real web server on loopback that keeps what it is posted and answers with the number its path ends in."""
    import http.server
    import json
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.server.posted.append((self.path, dict(self.headers), json.loads(body or "null")))
            self.send_response(int(self.path.rsplit("/", 1)[-1]))
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere/200")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, *_):
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.posted = []
        listening.url = f"http://127.0.0.1:{listening.server_port}/hook/secret"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


@pytest.fixture
def break_off():
    """Let folders be on shares whose server has gone (ENOTCONN): gives a function for that, and one that mends it."""
    libc, broken = ctypes.CDLL(None, use_errno=True), []

    def begin(folder):
        device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
        mounted = libc.mount(b"gone", os.fsencode(folder), b"fuse.sshfs", 0, options) == 0
        os.close(device)  # nobody answers any more
        if not mounted:
            pytest.skip("needs the right to mount")
        broken.append(folder)

    def end(folder):
        subprocess.run(["umount", "--lazy", folder], check=True)
        broken.remove(folder)

    if sys.platform != "linux" or os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs Linux, root and FUSE")
    yield begin, end
    for folder in list(broken):
        end(folder)


@pytest.fixture
def handicapped(tmp_path, monkeypatch, dusty_shot):
    """Let programs run without something that is here: gives a function that takes what they are to do at their start.

    It gives another, which says something to dustd. The working folder is tmp_path, with a frame in shots/.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "SHOT.DNG").write_bytes(dusty_shot[1])

    def dustd(*words):
        command = [sys.executable, "-m", "dustd", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def handicap(statements):
        # Run by every interpreter that finds it in PYTHONPATH: the daemon's worker process, too.
        (tmp_path / "start").mkdir()
        (tmp_path / "start" / "sitecustomize.py").write_text(statements)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "start"), *sys.path]))
        return dustd

    return handicap
