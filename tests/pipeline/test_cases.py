"""Small inputs that dustd once got wrong (shared/cases), from file to sidecar with the shipped model."""

from dustd.cli import batch


def run(pipeline, folder, out):
    jobs = batch.in_capture_order(batch.collect([folder], out))
    return list(batch.clean_all(jobs, pipeline, out))


def test_cleaned_files_that_come_back_are_left_alone_and_do_not_testify(case, make, store):
    folder = case("15-cleaned-files-come-back")
    pipeline = make()
    run(pipeline, folder / "in", folder / "out")
    (before,) = store.bodies()
    back = folder / "back"
    back.mkdir()
    for path in (folder / "out").glob("*.dng"):
        (back / path.name).write_bytes(path.read_bytes())
    assert run(pipeline, back, folder / "out2") == [None] * 6
    assert not any((folder / "out2").iterdir())
    (after,) = store.bodies()
    assert after.frames == before.frames == 6 and after.particles == before.particles
