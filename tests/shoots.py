"""A cleaned frame on disk, for tests of what a person says about it afterwards."""

import numpy as np

from dustd.config import Config, OutputSettings
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.pipeline.correct_place import correct_place
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.reject import reject
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera


class Shoot:
    """A cleaned frame on disk: shoot/SHOT.DNG, out/, maps.sqlite and the folder for examples."""

    def __init__(self, home, worker):
        self.home, self.worker = home, worker
        self.source, self.out, self.labelled = home / "shoot" / "SHOT.DNG", home / "out", home / "labelled"
        self.sidecar = self.out / "SHOT.DNG.dustd.json"

    @property
    def record(self):
        return sidecar.decode(self.sidecar.read_bytes())

    @property
    def cleaned(self):
        return self.out / self.record.outputs[0].path

    def corrected(self):
        return [spot.id for spot in self.record.spots if spot.action != "left"]

    def spot(self, number):
        return next(spot for spot in self.record.spots if spot.id == number)

    def store(self):
        return Store.open(self.home / "maps.sqlite")

    def reject(self, *numbers, path=None, **options):
        with self.store() as store:
            return reject(
                path or self.cleaned,
                set(numbers),
                worker=self.worker,
                store=store,
                settings=Config(output=options.pop("output", OutputSettings())),
                labelled=self.labelled,
                **options,
            )

    def correct(self, x, y, *, path=None, **options):
        with self.store() as store:
            return correct_place(
                path or self.sidecar,
                x,
                y,
                worker=self.worker,
                store=store,
                settings=Config(output=options.pop("output", OutputSettings())),
                labelled=self.labelled,
                **options,
            )

    def clean(self, detector, store, reviewer=None, sensitivity=100.0, **output):
        pipeline = Pipeline(
            detector=detector,
            store=store,
            worker=self.worker,
            reviewer=reviewer,
            output=OutputSettings(**output),
            sensitivity_of=lambda *_: sensitivity,
        )
        return pipeline.process(self.source, self.out)


def samples(path):
    """Read the samples of a RAW file's visible area."""
    with open_raw(path, read_camera(path)) as opened:
        return opened.frame.mosaic.copy()


def around(spot, shape):
    """Tell where the correction of a spot may act, (h, w) bool."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(columns - spot.x, rows - spot.y) <= 2 * spot.diameter_px + 8
