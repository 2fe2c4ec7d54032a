"""A randomised studio: files that land in every way that tether programs, card readers and networks have.

Each way writes one file and says what it put there in the end and what is to become of it. Ways take seconds, so many
run side by side. A folder that is away for a moment is waited for.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.soak import mutations, seeds

PATIENCE_S = 30.0
Fate = Literal["cleaned", "failed", "either", "nothing", "unnamed", "gone"]


@dataclass(kw_only=True)
class Landed:
    """A file that was put into a watched folder: its content's hash and what dustd is to make of it.

    *fate*: cleaned; failed with a reason; either of them (hostile content); nothing, as it is no frame; "unnamed" is
    a failure that has no sidecar, because the name leaves no room for one; "gone" was taken away again at some time.
    *frame_ids* are of all exposures that ever had this name, the last one last.
    """

    path: Path
    sha256: str
    fate: Fate
    frame_ids: list[str] = field(default_factory=list)
    stranger: Path | None = None  # a file of somebody else in the output folder


def plain(path: Path, data: bytes, _: random.Random) -> None:
    """Write at once."""
    path.write_bytes(data)


def renamed(path: Path, data: bytes, rng: random.Random) -> None:
    """Write under a temporary name, as gphoto2 does, then rename; sometimes with the time of another year."""
    temp = path.with_name(f"tmpfile{rng.randrange(16**6):06x}")
    temp.write_bytes(data)
    if rng.random() < 0.5:
        at = time.time() + rng.choice((-3e8, -86_400, 3600, 3e7))  # a camera whose clock is wrong or was set back
        os.utime(temp, (at, at))
    temp.rename(path)


def in_pieces(path: Path, data: bytes, rng: random.Random) -> None:
    """Stream into the final name, with pauses shorter than the quiet period."""
    _pour(path, data, 5, lambda: rng.uniform(0.02, 0.3))


def growing(path: Path, data: bytes, rng: random.Random) -> None:
    """Grow with pauses in which the file looks finished."""
    _pour(path, data, 4, lambda: rng.uniform(0.6, 1.5))


def rewritten(path: Path, data: bytes, rng: random.Random) -> None:
    """Write, and write again, as for tags added after landing."""
    path.write_bytes(data)
    time.sleep(rng.uniform(0.1, 2.0))
    path.write_bytes(data)


WAYS: tuple[Callable[[Path, bytes, random.Random], None], ...] = (plain, plain, renamed, in_pieces, growing, rewritten)


KINDS = (
    *("good", "replaced", "pair", "stranger", "cut", "noise", "hostile", "empty", "link", "loop", "longest"),
    *("sparse", "renamed later", "gone"),
)


def land(folder: Path, out: Path, number: int, rng: random.Random) -> list[Landed]:
    """Put file *number* into *folder*, whose outputs go to *out*, in some way; a pair of files sometimes."""
    kind = rng.choices(
        KINDS,
        (52, 5, 5, 2, 4, 3, 8, 2, 2, 1, 1, 3, 5, 2),
    )[0]
    shot = seeds.shot(number, rng.choice(("V6-0001", "V6-0002")))
    path = folder / _name(number, rng)
    landed = Landed(path=path, sha256=_sha256(shot.data), fate="cleaned", frame_ids=[shot.frame_id])
    if kind == "replaced":
        before = seeds.shot(100_000 + number)
        _insist(lambda: plain(path, before.data, rng))
        time.sleep(rng.uniform(0.0, 4.0))
        temp = path.with_name(f".{number}.partial")
        _insist(lambda: temp.write_bytes(shot.data))
        if rng.random() < 0.5:  # a camera that knows neither date nor new names: only the content tells
            _insist(lambda: os.utime(temp, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns)))
        _insist(lambda: temp.replace(path))
        landed.frame_ids.insert(0, before.frame_id)
        return [landed]
    if kind == "renamed later":
        landed.path = path.with_name(f"client {number}.dng")
        _insist(lambda: rng.choice(WAYS)(path, shot.data, rng))
        time.sleep(rng.uniform(0.0, 6.0))
        _insist(lambda: path.rename(landed.path))
        return [landed]
    if kind == "gone":
        landed.fate = "gone"
        _insist(lambda: plain(path, shot.data, rng))
        time.sleep(rng.uniform(0.0, 3.0))
        _insist(path.unlink)
        return [landed]
    if kind == "pair":
        jpeg = path.with_suffix(".JPG")
        _insist(lambda: jpeg.write_bytes(b"\xff\xd8\xff\xd9"))
        _insist(lambda: rng.choice(WAYS)(path, shot.data, rng))
        return [landed, Landed(path=jpeg, sha256=_sha256(b"\xff\xd8\xff\xd9"), fate="nothing")]
    if kind == "stranger":
        landed.stranger = out / f"{path.stem}.dng"
        _insist(lambda: out.mkdir(parents=True, exist_ok=True))
        _insist(lambda: landed.stranger.write_bytes(b"somebody else's"))
    if kind in ("link", "loop"):
        target = folder if kind == "loop" else elsewhere(folder)
        link = folder / (f"loop {number}" if kind == "loop" else f"link {number}.dng")
        _insist(lambda: link.symlink_to(target))
        if kind == "loop" or not target.exists():
            return []
        linked = seeds.shot(0)  # a link to a file counts as that file
        return [Landed(path=link, sha256=_sha256(linked.data), fate="cleaned", frame_ids=[linked.frame_id])]
    if kind == "longest":
        landed.path = folder / _longest(number)
        landed.fate = "unnamed"
    data = shot.data
    if kind == "sparse":  # made long first and filled later, or never
        hollow = data[: len(data) // 2].ljust(len(data), b"\0")
        _insist(lambda: plain(landed.path, hollow, rng))
        time.sleep(rng.uniform(0.0, 4.0))
        if rng.random() < 0.5:
            data, landed.fate = hollow, "failed"
    elif kind == "cut":
        data, landed.fate = data[: rng.randrange(2000, len(data) - 100)], "failed"
    elif kind == "noise":
        data, landed.fate = rng.randbytes(5000), "failed"
    elif kind == "hostile":
        data, landed.fate = mutations.mutate(data, rng, seeds.shot(number + 1).data)[1], "either"
    elif kind == "empty":
        data, landed.fate = b"", "failed"
    landed.sha256 = _sha256(data)
    if landed.fate == "either" and not data:
        landed.fate = "failed"
    if landed.fate != "cleaned":
        landed.frame_ids = []
    _insist(lambda: rng.choice(WAYS)(landed.path, data, rng))
    return [landed]


def elsewhere(folder: Path) -> Path:
    """Name some file outside that a link may point at."""
    return folder.parent / "elsewhere.dng"


def _name(number: int, rng: random.Random) -> str:
    """Invent a name; the number keeps it unique, whatever the case of its letters."""
    return rng.choice(
        (
            f"DSC_{number:05d}.DNG",
            f"DSC_{number:05d}.DNG",
            f"DSC_{number:05d}.dng",
            f"a name with spaces {number}.dng",
            f"📷 düst {number}.dng",
            f"two\nlines {number}.dng",
            f"{number}-" + "long" * 57 + ".dng",
            f"-{number} 'quoted\" \\ & $HOME.dng",
        )
    )


def _longest(number: int) -> str:
    """Make a name of 255 bytes, the most that file systems take: no sidecar can be named after it."""
    return f"{number}-".ljust(251, "n") + ".dng"


def _pour(path: Path, data: bytes, pieces: int, pause_s: Callable[[], float]) -> None:
    size = max(1, -(-len(data) // pieces))
    with path.open("wb") as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            file.flush()
            time.sleep(pause_s())


def _insist(write: Callable[[], object]) -> None:
    """Try again while the folder is away, or the disk that faults have struck."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            write()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
