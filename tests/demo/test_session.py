import dataclasses
import hashlib

import numpy as np
import pytest

from dustd.demo import proof, tether
from dustd.demo.session import Shot, broken_promises, fresh_folder, shoot_session
from dustd.demo.verdict import judge
from dustd.demo.virtual import XYZ_TO_CAMERA, make_body
from dustd.errors import FrameError
from dustd.output import sidecar
from dustd.output.sidecar import Output, Problem, Record, Source
from dustd.raw.frame import Camera
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    body = make_body("V6-0001", seed=1, grains=4, width=360, height=240)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tether, "PAUSE_S", 0.0)
        return list(shoot_session(body, tmp_path_factory.mktemp("capture"), 3, seed=1))


@pytest.fixture
def cleaned_shot(tmp_path):
    """A shot as dustd leaves it when all went well."""
    original, cleaned = tmp_path / "DSC_0001.DNG", tmp_path / "Cleaned" / "DSC_0001.dng"
    cleaned.parent.mkdir()
    original.write_bytes(b"light")
    cleaned.write_bytes(b"cleaned light")
    shot = Shot(path=original, sha256=hashlib.sha256(b"light").hexdigest(), exposure=None, cut_short=False)
    outputs = (Output(kind="dng", path=cleaned.name, sha256=hashlib.sha256(b"cleaned light").hexdigest()),)
    write(shot, Record(source=source(shot), camera=Camera(), status="cleaned", outputs=outputs))
    return shot


def source(shot):
    return Source(name=shot.path.name, size=5, sha256=shot.sha256, mtime_ns=1)


def write(shot, record):
    shot.sidecar.write_bytes(sidecar.encode(record))


def failed(shot):
    problem = Problem(problem="it ends too early", remedy="Copy it again")
    return Record(source=source(shot), camera=Camera(), status="failed", error=problem)


def test_every_shot_but_the_broken_one_is_a_raw_that_names_its_camera(shots):
    assert [shot.cut_short for shot in shots] == [False, True, False, False]
    for shot in shots:
        camera = read_camera(shot.path)
        assert (camera.model, camera.serial, camera.pixel_pitch_um) == ("Virtual 6", "V6-0001", 6.0)
        assert camera.f_number == shot.exposure.camera.f_number
        assert camera.focal_length_mm == shot.exposure.camera.focal_length_mm
        if not shot.cut_short:
            with open_raw(shot.path, camera) as opened:
                assert np.array_equal(opened.frame.mosaic, shot.exposure.mosaic)
                assert np.allclose(opened.frame.xyz_to_camera, XYZ_TO_CAMERA, atol=2e-3)


def test_the_broken_shot_cannot_be_decoded(shots):
    broken = next(shot for shot in shots if shot.cut_short)
    with pytest.raises(FrameError), open_raw(broken.path, read_camera(broken.path)):
        pass


def test_shots_are_taken_one_after_the_other_of_different_scenes(shots):
    times = [read_camera(shot.path).taken_at for shot in shots]
    assert times == sorted(set(times))
    pictures = [shot.exposure.clean for shot in shots]
    assert all(not np.array_equal(pictures[0], picture) for picture in pictures[1:])


@pytest.mark.parametrize("habit", tether.HABITS)
def test_every_habit_of_writing_leaves_the_whole_file_and_nothing_else(habit, tmp_path, monkeypatch):
    monkeypatch.setattr(tether, "PAUSE_S", 0.0)
    habit(tmp_path / "DSC_1.DNG", bytes(range(256)), 1e9)
    assert [path.name for path in tmp_path.iterdir()] == ["DSC_1.DNG"]
    assert (tmp_path / "DSC_1.DNG").read_bytes() == bytes(range(256))


def test_a_session_that_went_well_breaks_no_promise(cleaned_shot):
    assert broken_promises([cleaned_shot]) == []


def test_a_changed_original_breaks_a_promise(cleaned_shot):
    cleaned_shot.path.write_bytes(b"other light")
    assert broken_promises([cleaned_shot]) == ["DSC_0001.DNG: the original is not what it was"]


def test_a_frame_without_sidecar_breaks_a_promise(cleaned_shot):
    cleaned_shot.sidecar.unlink()
    assert broken_promises([cleaned_shot]) == ["DSC_0001.DNG: no sidecar, the frame was lost"]


def test_a_good_frame_that_failed_breaks_a_promise(cleaned_shot):
    write(cleaned_shot, failed(cleaned_shot))
    assert broken_promises([cleaned_shot]) == ["DSC_0001.DNG: failed: it ends too early"]


def test_a_cleaned_file_that_differs_from_its_sidecar_breaks_a_promise(cleaned_shot):
    (cleaned_shot.sidecar.parent / "DSC_0001.dng").write_bytes(b"half")
    assert broken_promises([cleaned_shot]) == ["DSC_0001.DNG: DSC_0001.dng is not what the sidecar says"]


def test_the_file_cut_short_must_be_explained(cleaned_shot):
    cut = dataclasses.replace(cleaned_shot, cut_short=True)
    assert len(broken_promises([cut])) == 2
    write(cut, failed(cut))
    assert broken_promises([cut]) == []


def test_an_earlier_demo_is_kept(tmp_path):
    folder = tmp_path / "demo-out"
    assert fresh_folder(folder) == folder
    folder.mkdir()
    assert fresh_folder(folder) == folder
    (folder / "report.txt").touch()
    assert fresh_folder(folder) == tmp_path / "demo-out-2"


def test_the_proof_is_a_picture_even_without_visible_dust(shots, tmp_path):
    shot = shots[0]
    record = Record(source=source(shot), camera=Camera(), status="clean")
    verdict = dataclasses.replace(judge(shot.exposure, shot.exposure.clean, record), visible=())
    proof.draw(tmp_path / "proof.png", shot.exposure, shot.exposure.clean, verdict)
    assert (tmp_path / "proof.png").stat().st_size > 10_000
