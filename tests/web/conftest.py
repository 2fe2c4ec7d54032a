"""A page with frames on it, served by its real process; what the daemon would tell it, the tests tell."""

import http.client
import queue
import time
from pathlib import Path

import pytest

from dustd import codec
from dustd.config import Config, FolderSettings, MapSettings
from dustd.output import sidecar
from dustd.output.sidecar import DetectorInfo, Record, Source
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot
from dustd.web import access
from dustd.web.client import PageClient, listen_at
from dustd.web.messages import Access, FolderNow, Setup, Snapshot, Watched

LIMIT_S = 60.0
BODY = "Nikon Z 8 #1"
PASSWORD = "sesam"


def record(name, *, at, spots=(), status="cleaned", orientation=1, error=None, folder=None):
    """Make the record of a frame of 300 × 200 px."""
    return Record(
        source=Source(name=name, size=3, sha256="ab", mtime_ns=1, read_at=at, folder=folder),
        camera=Camera(make="Nikon", model="Z 8", body_id=BODY, f_number=16.0, orientation=orientation),
        width=300,
        height=200,
        detector=DetectorInfo(
            model_id="small", sha256="cd", device="cpu", sensitivity=50, threshold=0.5, tiles=1, skipped_tiles=0
        ),
        spots=spots,
        status=status,
        error=error,
    )


def spot(number, **told):
    return Spot(
        id=number,
        x=told.pop("x", 10.0 * number),
        y=told.pop("y", 20.0),
        diameter_px=12.0,
        attenuation=0.1,
        score=told.pop("score", 0.9),
        wanted=True,
        action=told.pop("action", "divided"),
        reason="score 0.90 ≥ 0.50",
        **told,
    )


def snapshot(watched, **told):
    folders = tuple(
        FolderNow(path=str(each.path), output=str(each.output), present=True, waiting=0) for each in watched
    )
    said = {
        "doing": "idle",
        "paused": False,
        "order": "oldest",
        "waiting": 0,
        "in_hand": None,
        "next_up": (),
        "seconds_per_frame": 2.0,
        "backlog_s": 0.0,
        "counts": {},
        "folders": folders,
    }
    return Snapshot(**{**said, **told})


class Page:
    """The page's process as a browser meets it, with a cookie unless it is told otherwise; *asked* are commands."""

    def __init__(self, home: Path, frames: int, *, listen: str = "127.0.0.1", password: str | None = None) -> None:
        self.home, self.asked = home, queue.Queue()
        self.watched = Watched(path=home / "shoot", output=home / "shoot" / "Cleaned")
        self.watched.output.mkdir(parents=True)
        for number in range(frames):
            self.write(record(f"F{number:04}.NEF", at=f"2026-11-23T10:00:{number:02}+00:00", spots=(spot(1), spot(2))))
        listening = listen_at(listen, 0)
        self.port = listening.getsockname()[1]
        self.secret = b"s" * 32
        self.client = PageClient(listening, self.asked.put)
        config = Config(folders=(FolderSettings(path=self.watched.path),), map=MapSettings(store=home / "maps.sqlite"))
        self.setup = Setup(
            access=Access(secret=self.secret, listen=listen, port=self.port, password=password),
            watched=(self.watched,),
            config=config,
            file=None,
            loaded_at="2026-11-23T10:00:00+00:00",
            pictures=home / "web" / "pictures",
        )
        self.client.tell(self.setup)
        self.client.tell(snapshot([self.watched]))
        self.wait(lambda: self.get("/api/v1/frames?limit=1")[1]["total"] == frames)

    def write(self, made: Record) -> Path:
        path = self.watched.output / sidecar.sidecar_name(made.source.name)
        path.write_bytes(sidecar.encode(made))
        return path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def cookie(self) -> str:
        return f"dustd={access.ticket(self.secret, 'stay')}"

    def ask(self, method, path, body=None, **headers):
        """Send a request; return status, headers and body. A header that is None is left out."""
        usual = {"Host": self.host, "Cookie": self.cookie}
        if method == "POST":
            usual |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        said = {name: value for name, value in {**usual, **headers}.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in said.items():
                connection.putheader(name, value)
            data = body.encode() if isinstance(body, str) else body
            if data is not None and "Content-Length" not in said:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        """Give the status and the JSON of an answer."""
        status, _, data = self.ask("GET", path, **headers)
        return status, codec.parse(data)

    def post(self, path, body="{}", **headers):
        status, _, data = self.ask("POST", path, body, **headers)
        return status, codec.parse(data)

    def wait(self, condition):
        until = time.monotonic() + LIMIT_S
        while True:
            try:
                if condition():
                    return
            except (OSError, KeyError, TypeError, http.client.HTTPException):
                pass
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """A page with 5 frames, for all tests that change nothing."""
    made = Page(tmp_path_factory.mktemp("page"), 5)
    yield made
    made.client.close()


@pytest.fixture
def own_page(tmp_path):
    """Make a page of a test's own."""
    pages = []

    def make(frames=2, **told):
        pages.append(Page(tmp_path / str(len(pages)), frames, **told))
        return pages[-1]

    yield make
    for each in pages:
        each.client.close()
