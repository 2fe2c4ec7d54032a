"""What is asked for on the session page, done to real frames: the network alone is stood in for."""

import numpy as np
import pytest

from dustd.config import Config, FolderSettings, MapSettings, OutputSettings
from dustd.daemon.commands import Commands
from dustd.daemon.loop import Control
from dustd.daemon.watch import WatchedFolder
from dustd.daemon.wishes import Wishes
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from dustd.web.decision import decision_json
from dustd.web.messages import Command
from tests.pipeline.test_revisit import SURE, Dips, shot


@pytest.fixture(scope="module")
def data():
    return shot(1)


class Shoot:
    """A watched folder with one cleaned frame, and what a person asks of it."""

    def __init__(self, home, worker, store, data):
        self.folder = WatchedFolder(path=home / "shoot", output=home / "shoot" / "Cleaned")
        self.folder.output.mkdir(parents=True)
        self.source = self.folder.path / "R1.DNG"
        self.source.write_bytes(data)
        folder = FolderSettings(path=self.folder.path)
        self.settings = Config(folders=(folder,), map=MapSettings(store=home / "maps.sqlite"))
        self.wishes = Wishes(home)
        self.pipeline = Pipeline(
            detector=Dips(),
            store=store,
            worker=worker,
            output=OutputSettings(),
            sensitivity_of=lambda body_id, source: self.wishes.sensitivity_of(body_id, source, self.settings),
        )
        self.pipeline.detector.score = SURE
        self.pipeline.process(self.source, self.folder.output)
        self.commands = Commands(self.pipeline, self.wishes)
        self.commands.configure(self.settings, [self.folder])
        self.posted = []

    def do(self, kind, **asked):
        command = Command(id="1", kind=kind, frame=str(self.source), **asked)
        return self.commands.perform(command, Control(post=self.posted.append, next_up=lambda count: []))

    @property
    def record(self):
        return sidecar.decode((self.folder.output / "R1.DNG.dustd.json").read_bytes())

    def samples(self, path):
        with open_raw(path, read_camera(path)) as opened:
            return np.array(opened.frame.mosaic)

    def is_original_at(self, spot):
        x, y, reach = round(spot.x), round(spot.y), round(spot.diameter_px)
        here = np.s_[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
        return np.array_equal(self.samples(self.source)[here], self.samples(self.folder.output / "R1.dng")[here])


@pytest.fixture
def shoot(tmp_path, worker, data):
    with Store.open(":memory:") as store:
        yield Shoot(tmp_path, worker, store, data)


def lone(record):
    """Give a corrected spot that no other one is near."""
    corrected = [spot for spot in record.spots if spot.action != "left"]
    away = [min(abs(a.x - b.x) + abs(a.y - b.y) for b in corrected if b is not a) for a in corrected]
    return corrected[away.index(max(away))]


def test_a_rejected_spot_gets_the_originals_samples_back_and_undo_corrects_it_again(shoot):
    spot = lone(shoot.record)
    assert not shoot.is_original_at(spot)
    done = shoot.do("reject", spots=(spot.id,))
    assert done.result.state == "done" and done.source == shoot.source
    assert shoot.is_original_at(spot)
    assert next(each for each in shoot.record.spots if each.id == spot.id).rejected
    assert shoot.do("undo", spots=(spot.id,)).result.state == "done"
    assert not shoot.is_original_at(spot)


def test_a_place_that_was_left_is_corrected_when_a_person_points_at_it(shoot):
    spot = lone(shoot.record)
    assert shoot.do("sensitivity", value=0.0, scope="frame").result.state == "done"
    assert shoot.is_original_at(spot)
    done = shoot.do("correct", x=spot.x, y=spot.y)
    assert done.result.state == "done", done.result
    assert not shoot.is_original_at(spot)
    assert shoot.do("correct", x=-5.0, y=0.0).result.state == "refused"


def test_the_slider_says_what_then_comes_and_goes(shoot):
    before = shoot.record
    body_id, store = before.camera.body_id, shoot.pipeline.store
    told = decision_json(before, store.state(body_id), store.rejections(body_id), shoot.pipeline.scale, 0.0)
    assert told["goes"] and not told["comes"]
    same = decision_json(before, store.state(body_id), store.rejections(body_id), shoot.pipeline.scale, 50.0)
    assert (same["comes"], same["goes"]) == ([], [])
    shoot.do("sensitivity", value=0.0, scope="frame")
    after = shoot.record
    assert after.detector.sensitivity == 0.0
    assert sum(spot.action != "left" for spot in after.spots) == len(told["corrected"])


def test_a_command_for_a_place_outside_of_the_watched_folders_is_refused(shoot, tmp_path):
    for place in ("/etc/passwd", f"{shoot.folder.path}/../other.nef", "", "R1.DNG"):
        command = Command(id="1", kind="reject", frame=place, spots=(1,))
        done = shoot.commands.perform(command, Control(post=shoot.posted.append, next_up=lambda count: []))
        assert done.result.state == "refused" and done.source is None
