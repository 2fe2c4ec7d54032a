"""What tests of one frame's way need: a pipeline with the shipped model, and a frame on disk."""

import shutil

import numpy as np
import pytest

from dustd.config import OutputSettings
from dustd.dustmap.store import Store
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.report.review_book import Book
from tests.shoots import Shoot


@pytest.fixture
def store():
    with Store.open(":memory:") as opened:
        yield opened


@pytest.fixture
def make(detector, worker, store):
    """Build a pipeline with given output settings; sensitivity 50."""

    def build(sensitivity: float = 50.0, **output) -> Pipeline:
        return Pipeline(
            detector=detector,
            store=store,
            worker=worker,
            output=OutputSettings(**output),
            sensitivity_of=lambda body, source: sensitivity,
        )

    return build


@pytest.fixture
def shot(tmp_path, dusty_shot):
    path = tmp_path / "SHOT.DNG"
    path.write_bytes(dusty_shot[1])
    out = tmp_path / "out"
    out.mkdir()
    return path, out


class Blind:
    """The shipped model with its eyes shut."""

    def __init__(self, detector) -> None:
        self._detector = detector

    def __getattr__(self, name: str):
        return getattr(self._detector, name)

    def __call__(self, tiles):
        return [np.zeros((0, 5), np.float32)] * len(tiles)


@pytest.fixture(scope="session")
def blind(detector):
    return Blind(detector)


@pytest.fixture(scope="session")
def cleaned_once(tmp_path_factory, detector, worker, dusty_shot):
    home = tmp_path_factory.mktemp("shoot")
    shoot = Shoot(home, worker)
    shoot.source.parent.mkdir()
    shoot.out.mkdir()
    shoot.source.write_bytes(dusty_shot[1])
    with shoot.store() as store:
        book = Book(shoot.out, 1)
        shoot.clean(detector, store, book)
    (home / "first.html").write_text(book.text())
    assert len(shoot.corrected()) >= 3
    return home


@pytest.fixture
def shoot(cleaned_once, worker, tmp_path):
    shutil.copytree(cleaned_once, tmp_path / "home")
    return Shoot(tmp_path / "home", worker)
