"""What tests of one frame's way need: a pipeline with the shipped model, and a frame on disk."""

import numpy as np
import pytest

from dustd.config import OutputSettings
from dustd.dustmap.store import Store
from dustd.pipeline.frame_pipeline import Pipeline


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


@pytest.fixture
def blind(detector):
    return Blind(detector)
