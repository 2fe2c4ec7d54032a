"""A shoot as the session page shows it: the real daemon with the shipped model, small frames that land meanwhile."""

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dustd.demo import proof
from dustd.demo.child import Daemon
from dustd.demo.scenes import SESSION
from dustd.demo.virtual import Exposure, Lens, VirtualBody, expose, frame_of, make_body
from dustd.output import sidecar
from dustd.output.dng import encode_dng
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from dustd.web import access

if TYPE_CHECKING:
    from playwright.sync_api import Page

TELE = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78)
STUDIO = next(scene for scene in SESSION if scene.__name__ == "bottle_on_seamless")
CONFIG = """\
folders:
  - path: Capture
map:
  store: state/maps.sqlite
model:
  threads: 1
watch:
  quiet_s: 0.2
  give_up_s: 1
  rescan_s: 2
web:
  port: {port}
"""


class Shoot:
    """A folder that is shot into, watched by a daemon of its own whose page listens at *port*; a context manager."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.capture = home, home / "Capture"
        self.capture.mkdir(parents=True)
        (home / "config.yaml").write_text(CONFIG.format(port=port), encoding="utf-8")
        self.daemon = Daemon(home / "config.yaml", home / "dustd.log")

    def __enter__(self) -> "Shoot":
        self.daemon.__enter__()
        self.daemon.wait_until_ready()
        return self

    def __exit__(self, *exc: object) -> None:
        self.daemon.__exit__(*exc)

    @property
    def address(self) -> str:
        """Where the page is, for a browser that was not let in."""
        door = access.read(self.home / "state")
        assert door is not None and door.address is not None
        return door.address

    @property
    def invitation(self) -> str:
        """Where a browser is let in, as `dustd open` tells it."""
        door = access.read(self.home / "state")
        assert door is not None
        return f"{self.address}/open?token={access.ticket(bytes.fromhex(door.secret), 'open')}"

    def land(self, name: str, data: bytes) -> Path:
        """Put a file into the watched folder, as a tether program does that renames."""
        path = self.capture / name
        temp = path.with_name(f"tmp-{name}.part")
        temp.write_bytes(data)
        temp.rename(path)
        return path

    def beside(self, name: str) -> Path:
        """Where dustd says what it did with the file *name*."""
        return self.capture / "Cleaned" / sidecar.sidecar_name(name)

    def record(self, name: str) -> sidecar.Record:
        """What the sidecar says now."""
        return sidecar.decode(self.beside(name).read_bytes())

    def wait_for(self, name: str, status: str, limit_s: float = 120) -> sidecar.Record:
        """Wait until a sidecar has *status*."""
        until = time.monotonic() + limit_s
        while not self.beside(name).exists() or self.record(name).status != status:
            assert time.monotonic() < until, f"{name} did not become {status}: {self.daemon.log.read_text()[-2000:]}"
            time.sleep(0.1)
        return self.record(name)

    def page_process(self) -> int:
        """The process id of the page's server."""
        for each in Path("/proc").iterdir():
            if not each.name.isdigit():
                continue
            try:
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                words = (each / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == self.daemon.pid and b"dustd.web.server" in words:
                return int(each.name)
        raise AssertionError("the page has no process")


def studio_body(width: int, height: int, grains: int = 14) -> VirtualBody:
    """A body with dust, for frames of *width* × *height* px."""
    return make_body("V6-PAGE", seed=11, grains=grains, width=width, height=height)


def take(body: VirtualBody, number: int, scene=STUDIO, f_number: float = 16) -> tuple[Exposure, bytes]:
    """Take frame *number* and give it with its DNG; the same for the same number."""
    exposure = expose(
        body,
        scene(np.random.default_rng([3, number]), body.height, body.width),
        f_number=f_number,
        lens=TELE,
        seed=number,
        taken_at=f"2026-11-23T10:{number:02d}:00",
        exposure_s=1 / 125,
    )
    data = encode_dng(
        frame_of(exposure), exposure.mosaic, SourceMetadata(), preview_rgb=proof.develop(exposure.mosaic),
        original_name=f"DSC_{number:04d}.DNG",
    )  # fmt: skip
    return exposure, data


def samples(path: Path) -> np.ndarray:
    """The raw samples of a file's visible area."""
    with open_raw(path, read_camera(path)) as opened:
        return opened.frame.mosaic.copy()


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(page: "Page", condition: str, limit_s: float = 120) -> None:
    """Wait until a *condition* in JavaScript holds; Playwright's own way of waiting breaks the page's policy."""
    end = time.monotonic() + limit_s
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)
