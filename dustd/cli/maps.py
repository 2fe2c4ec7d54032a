"""`dustd map`: look at the dust maps of bodies, tell them about cleanings, carry them between computers."""

import argparse
import dataclasses
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from dustd import codec
from dustd.cli.common import FINE, SOME_FAILED, find_body, open_store, publish
from dustd.dustmap import recovery
from dustd.errors import UsageError
from dustd.report import sensor_picture
from dustd.text import counted

if TYPE_CHECKING:
    from dustd.dustmap.repair import Damage
    from dustd.dustmap.store import Store


def list_bodies(args: argparse.Namespace) -> int:
    """List the bodies."""
    with open_store(args) as store:
        rows = [
            (
                each.body_id,
                str(sum(particle.confirmed for particle in each.particles)),
                str(sum(not (particle.confirmed or particle.remembered) for particle in each.particles)),
                str(each.frames),
                _day(each.last_frame_at),
                _day(each.cleanings[-1] if each.cleanings else None),
            )
            for each in store.bodies()
        ]
    _print_table(("body", "confirmed", "suspected", "frames", "last frame", "cleaned"), rows)
    return FINE


def show(args: argparse.Namespace) -> int:
    """Draw a body's sensor and list its particles."""
    if args.png and args.png.suffix.lower() != ".png":
        raise UsageError("the picture's name must end in .png", remedy="Name another file", path=args.png)
    with open_store(args) as store:
        dust_map = store.body(find_body(store, args.body))
    assert dust_map is not None
    dust = (dust_map.particles, dust_map.width, dust_map.height)
    if args.png:
        _, png = cv2.imencode(".png", sensor_picture.sensor_picture(*dust))
        publish(args.png, png.tobytes(), ours=_is_png)
        print(f"{dust_map.body_id}: an even grey frame at f/16 would show {args.png}.")
        return FINE
    period = f"{_day(dust_map.first_frame_at)} to {_day(dust_map.last_frame_at)}"
    print(f"{dust_map.body_id}: {counted(dust_map.frames, 'frame')}, {period}")
    print(sensor_picture.braille_picture(*dust))
    print("The dots are confirmed particles, as in the upright picture.")
    print("x and y count from the middle of the sensor, in pixels; diameter and light lost are those at f/11.")
    by_confidence = sorted(dust_map.particles, key=lambda particle: -particle.confidence)
    rows = [
        (
            particle.id,
            f"{particle.mx:.0f}",
            f"{particle.my:.0f}",
            f"{particle.diameter_px_at(11):.0f}",
            f"{particle.attenuation_at(11):.1%}",
            f"{particle.confidence:.0%}",
            particle.shape or "-",
            "confirmed" if particle.confirmed else "remembered" if particle.remembered else "suspected",
            f"{particle.frames_seen}/{particle.frames_eligible}",
            _day(particle.last_seen),
        )
        for particle in by_confidence
    ]
    heads = ("particle", "x", "y", "diameter", "light", "confidence", "shape", "state", "seen", "last seen")
    _print_table(heads, rows)
    return FINE


def cleaned(args: argparse.Namespace) -> int:
    """Begin a new epoch now, or take the last one back."""
    if args.undo:
        with open_store(args) as store:
            body_id = find_body(store, args.body)
            last = store.epochs(body_id)[-1]
            if not store.undo_cleaning(body_id):
                raise UsageError(f"{body_id} has no cleaning to undo", remedy="dustd map list shows the last cleanings")
        print(
            f"{body_id}: the cleaning of {_day(last.started_at)}, {last.how}, is undone. The map goes on as before it."
        )
        return FINE
    now = datetime.datetime.now().astimezone()
    with open_store(args) as store:
        body_id = find_body(store, args.body)
        store.cleaned(body_id, now.isoformat(timespec="milliseconds"), after_all=True)
    print(f"{body_id}: cleaned {now.isoformat(timespec='seconds')}. Its map starts afresh; the old one is kept.")
    return FINE


def forget(args: argparse.Namespace) -> int:
    """Delete a body's map."""
    with open_store(args) as store:
        body_id = find_body(store, args.body)
        store.forget(body_id)
    print(f"{body_id}: forgotten. The sidecars still know; dustd map rebuild learns from them.")
    return FINE


def export(args: argparse.Namespace) -> int:
    """Write a body's map into a file."""
    with open_store(args) as store:
        body_id = find_body(store, args.body)
        data = store.export(body_id)
    publish(args.output, codec.to_bytes(data), ours=_is_map)
    print(f"{body_id}: its map, with history and cleanings, is in {args.output}.")
    return FINE


def import_(args: argparse.Namespace) -> int:
    """Take in a body's map from a file."""
    try:
        data = codec.parse(args.file.read_bytes())
    except OSError as exc:
        raise UsageError(f"cannot be read ({exc.strerror})", remedy="Name another file", path=args.file) from exc
    except ValueError as exc:
        remedy = "Name a file that dustd map export wrote"
        raise UsageError("it is no exported dust map", remedy=remedy, path=args.file) from exc
    with open_store(args) as store:
        body_id = store.import_(data, replace=args.replace)
    print(f"{body_id}: its map was taken in.")
    return FINE


def rebuild(args: argparse.Namespace) -> int:
    """Add to the maps what sidecars know, or with --replace put that in place of what the maps know."""
    if not args.folder.is_dir():
        raise UsageError("it is not a folder", remedy="Name the folder that holds the sidecars", path=args.folder)
    found = recovery.find_sidecars([args.folder], left_out=_complain)
    with open_store(args) as store:
        if args.replace:
            _say_what_is_lost(store, found)
        learnt = recovery.learn(store, found, replace=args.replace)
    sidecars = counted(found.read + found.left_out, "sidecar")
    if args.replace:
        bodies = counted(len(found.bodies), "body", "bodies")
        print(f"The maps of {bodies} were learnt again from {learnt} of {sidecars}.")
    else:
        rest = "the others were counted before or tell nothing"
        print(f"{counted(learnt, 'frame')} of {sidecars} added to the maps; {rest}.")
    return SOME_FAILED if found.left_out else FINE


def repair(args: argparse.Namespace) -> int:
    """Tell which maps cannot be read, and learn those again from the sidecars in the folders that were named."""
    for folder in args.folders:
        if not folder.is_dir():
            raise UsageError("it is not a folder", remedy="Name output folders, which hold the sidecars", path=folder)
    with open_store(args) as store:
        damaged = store.damage()
        if not damaged:
            print(f"{counted(len(store.body_ids()), 'map')} looked through: all can be read.")
            return FINE
        found = recovery.find_sidecars(args.folders, left_out=_complain)
        left = sum(not _repaired(store, each, found, replace=args.replace) for each in damaged)
    return SOME_FAILED if left else FINE


def _repaired(store: "Store", damage: "Damage", found: recovery.Found, *, replace: bool) -> bool:
    """Learn one damaged map again unless frames would be lost; say what was done, or what to do."""
    print(f"{damage.body_id}: {'; '.join(damage.problems)}")
    sidecars = found.bodies.get(damage.body_id, ())
    lost = len(damage.frame_ids - {each.frame_id for each in sidecars})
    if not sidecars or (lost and not replace):
        known = f"{lost} of its {counted(len(damage.frame_ids), 'frame')} have no sidecar in these folders"
        print(f"  -> {known}. Name the output folders of all stations" + ("; or say --replace" if sidecars else ""))
        return False
    only = dataclasses.replace(found, bodies={damage.body_id: sidecars})
    print(f"  learnt again from {recovery.learn(store, only, replace=True)} of {counted(len(sidecars), 'sidecar')}")
    return True


def _say_what_is_lost(store: "Store", found: recovery.Found) -> None:
    known = {each.body_id: each.frames for each in store.bodies() if each.body_id in found.bodies}
    for body_id, frames in sorted(known.items()):
        here = counted(len(found.bodies[body_id]), "sidecar")
        print(f"{body_id}: {counted(frames, 'frame')} known so far, {here} here.")


def _complain(path: Path, exc: Exception) -> None:
    print(f"dustd: {path}: this sidecar cannot be read ({exc}). It was left out", file=sys.stderr)


def _is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG")


def _is_map(data: bytes) -> bool:
    return data.startswith(b'{"schema": "dustd.map"')


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _day(at: str | None) -> str:
    return at[:10] if at else "-"
