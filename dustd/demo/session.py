"""`dustd demo`: a simulated tethered session, end to end, with the real daemon, and an honest account of it.

A virtual body with known dust shoots into a watched folder the way tether programs write, one file is cut short, and
`dustd run` cleans what lands. Then the cleaned files are held against the light that was.
"""

import hashlib
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from dustd.demo import proof, tether
from dustd.demo.child import Daemon
from dustd.demo.scenes import SESSION
from dustd.demo.verdict import Verdict, judge, judge_map, table
from dustd.demo.virtual import Exposure, Lens, VirtualBody, expose, focal_plane, frame_of, make_body
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.output.dng import encode_dng
from dustd.output.sidecar import Record
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import from_centre
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from dustd.text import counted

WIDE = Lens(name="Virtual 28mm F2.8", focal_length_mm=28, exit_pupil_mm=52)
TELE = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78)
OUTDOORS = ("sky_over_hills", "clouds_over_sea")
F_NUMBERS = (11, 16, 8, 11, 16, 16, 11, 11, 11, 11, 16, 8)  # the last four repeat the first, to compare
STALLED_S = 120.0  # without a new sidecar, the session is over

STORE = Path("state", "maps.sqlite")

CONFIG = """\
# Written by dustd demo, which starts `dustd run -c` with it.
folders:
  - path: capture
map:
  store: state/maps.sqlite
web:
  port: 0  # the page is for your own dustd
watch:
  quiet_s: 1.0
  give_up_s: 12  # one file of the demo is cut short on purpose; nobody wants to wait for it
  rescan_s: 10
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A file that was shot: where it lies, the hash it must keep, and what was in front of the lens."""

    path: Path
    sha256: str
    exposure: Exposure
    cut_short: bool

    @property
    def sidecar(self) -> Path:
        """Where dustd says what it did."""
        return self.path.parent / "Cleaned" / sidecar.sidecar_name(self.path.name)


def run(folder: Path, *, frames: int = len(SESSION), width: int = 3000, height: int = 2000, seed: int = 7) -> int:
    """Shoot and clean a session in *folder* and print the account; 0 if every promise was kept, else 1.

    Missed dust is reported, not an error. An earlier demo is kept: the new one gets the next free name. Raises
    SurroundingsError if the daemon does not start or ends by itself.
    """
    home = fresh_folder(folder.absolute())
    (home / "capture").mkdir(parents=True)
    (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
    body = make_body(f"V6-{seed:04d}", seed=seed, width=width, height=height)
    grains = counted(len(body.grains), "grain")
    print(f"A body with {grains} of dust shoots {counted(frames, 'frame')} into {home / 'capture'}", flush=True)
    with (
        Daemon(home / "config.yaml", home / "dustd.log") as daemon,
        tqdm(total=frames + 1, unit="frame", disable=None) as bar,
    ):
        daemon.wait_until_ready()
        shots: list[Shot] = []
        for shot in shoot_session(body, home / "capture", frames, seed):
            shots.append(shot)
            _show(bar, shots, daemon)
        _wait_for_sidecars(shots, bar, daemon)
        exit_code = daemon.stop()
    verdicts = [verdict for shot in shots if (verdict := _verdict(shot)) is not None]
    broken = broken_promises(shots)
    broken += [f"{v.name}: {v.outside_px} pixels changed outside the spots" for v in verdicts if v.outside_px]
    if exit_code != 0:
        broken.append(f"dustd run ended with exit code {exit_code}: {home / 'dustd.log'} says why")
    print(f"\n{table(verdicts)}\n{_map_line(home, body, shots, verdicts)}\n\n{_leave_behind(home, shots, verdicts)}\n")
    print("\n".join(f"PROMISE BROKEN: {line}" for line in broken) or "Every promise was kept.")
    return 1 if broken else 0


def broken_promises(shots: Sequence[Shot]) -> list[str]:
    """List what must never happen: originals changed, frames lost, the broken file not explained."""
    return [f"{shot.path.name}: {wrong}" for shot in shots for wrong in _broken(shot)]


def _broken(shot: Shot) -> Iterator[str]:
    record = _record(shot)
    if not shot.path.exists() or _sha256(shot.path) != shot.sha256:
        yield "the original is not what it was"
    if record is None:
        yield "no sidecar, the frame was lost"
    elif shot.cut_short:
        if record.status != "failed" or not record.error or not record.error.remedy:
            yield f"cut short, but the sidecar says {record.status} and names no remedy"
        if record.outputs:
            yield "cut short, but there is a cleaned file"
    elif record.status == "failed":
        yield f"failed: {record.error.problem if record.error else 'no reason given'}"
    elif not record.outputs:
        yield "no cleaned file"
    for output in record.outputs if record else ():
        path = shot.sidecar.parent / output.path
        if not path.exists() or _sha256(path) != output.sha256:
            yield f"{output.path} is not what the sidecar says"


def shoot_session(body: VirtualBody, capture: Path, frames: int, seed: int) -> Iterator[Shot]:
    """Take *frames* pictures and one more that is cut short, each written in another program's way."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    cut = frames // 2
    for number in range(frames + 1):
        take = (number - (number > cut)) % len(SESSION)  # the scene of the broken file is shot again
        scene = SESSION[take]
        taken_at = start + timedelta(minutes=2 * number)
        exposure = expose(
            body,
            scene(np.random.default_rng([seed, number]), body.height, body.width),
            f_number=F_NUMBERS[take],
            lens=WIDE if scene.__name__ in OUTDOORS else TELE,
            seed=1000 * seed + number,
            taken_at=taken_at.replace(tzinfo=None).isoformat(),
            exposure_s=1 / 125,
        )
        path = capture / f"DSC_{number + 1:04d}.DNG"
        data = encode_dng(
            frame_of(exposure),
            exposure.mosaic,
            SourceMetadata(exif=focal_plane(body)),
            preview_rgb=proof.develop(exposure.mosaic),
            original_name=path.name,
        )
        write = tether.break_off if number == cut else tether.HABITS[number % len(tether.HABITS)]
        write(path, data, taken_at.timestamp())
        yield Shot(path=path, sha256=_sha256(path), exposure=exposure, cut_short=number == cut)


def _wait_for_sidecars(shots: Sequence[Shot], bar: "tqdm[NoReturn]", daemon: Daemon) -> None:
    """Wait until every shot has its sidecar, or none has come for STALLED_S."""
    done, until = -1, 0.0
    while done < len(shots):
        before, done = done, _show(bar, shots, daemon)
        if done > before:
            until = time.monotonic() + STALLED_S
        elif time.monotonic() > until:
            return


def _show(bar: "tqdm[NoReturn]", shots: Sequence[Shot], daemon: Daemon) -> int:
    """Bring the progress bar up to date; return how many shots have a sidecar."""
    said = [line.removeprefix("STATUS=") for line in daemon.hear() if line.startswith("STATUS=")]
    if said:
        bar.set_postfix_str(said[-1][:50], refresh=False)
    done = sum(shot.sidecar.exists() for shot in shots)
    bar.update(done - bar.n)
    return done


def _verdict(shot: Shot) -> Verdict | None:
    """Judge a cleaned shot; None if there is nothing to judge."""
    record = _record(shot)
    if record is None or record.status == "failed" or not record.outputs:
        return None
    return judge(shot.exposure, _cleaned(shot, record), record)


def _cleaned(shot: Shot, record: Record) -> np.ndarray:
    path = shot.sidecar.parent / record.outputs[0].path
    with open_raw(path, read_camera(path)) as opened:
        return opened.frame.mosaic


def _record(shot: Shot) -> Record | None:
    """Return what dustd says about a shot, None before it does."""
    try:
        return sidecar.decode(shot.sidecar.read_bytes())
    except FileNotFoundError:
        return None


def _map_line(home: Path, body: VirtualBody, shots: Sequence[Shot], verdicts: Sequence[Verdict]) -> str:
    """Say how much of the dust the map has learnt."""
    with Store.open(home / STORE) as store:
        particles = store.state(shots[0].exposure.camera.body_id).particles
    places = [from_centre(p.mx, p.my, width=body.width, height=body.height) for p in particles if p.confirmed]
    learnt = judge_map(places, verdicts, [shadow for shot in shots for shadow in shot.exposure.shadows])
    return (
        f"Dust map: {learnt.confirmed} grains confirmed, {learnt.could_be} were visible in two frames or more; "
        f"{learnt.wrong} confirmed where there is no dust."
    )


def _leave_behind(home: Path, shots: Sequence[Shot], verdicts: Sequence[Verdict]) -> str:
    """Write picture, report and table into *home*; return where everything lies."""
    lines = [f"Originals    {home / 'capture'}", f"Cleaned      {home / 'capture' / 'Cleaned'}, with a sidecar each"]
    if verdicts:
        best = max(verdicts, key=lambda v: len(v.removed))
        shot = next(shot for shot in shots if shot.path.name == best.name)
        record = _record(shot)
        assert record is not None, "a frame with a verdict has a sidecar"
        proof.draw(home / "before-after.png", shot.exposure, _cleaned(shot, record), best)
        lines.append(f"Before/after {home / 'before-after.png'}")
    for name, options in (("report.txt", ()), ("report.html", ("--html", home / "report.html"))):
        report = subprocess.run(
            [sys.executable, "-m", "dustd", "report", "-c", home / "config.yaml", *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if not options or report.returncode:
            (home / name).write_text(report.stdout + report.stderr, encoding="utf-8")
        lines.append(f"Report       {home / name}")
    lines.append(f"Log          {home / 'dustd.log'}")
    return "\n".join(lines)


def fresh_folder(folder: Path) -> Path:
    """Name *folder*, or folder-2, folder-3, … if something is in it already."""
    names = itertools.chain([folder], (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2)))
    return next(path for path in names if not path.exists() or (path.is_dir() and not any(path.iterdir())))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
