"""Do raw developers show the cleaned DNG as they show its source? `bench_outputs.py [--untouched] FILE…`

Each file is written as DNG with five artificial spots corrected (samples divided by 0.8 in discs of 32 px), developed
from source and DNG by LibRaw (rawpy), darktable-cli and rawtherapee-cli to 16 bits, and compared outside the discs and
what developers make of their surroundings; with --untouched no spot is corrected and everything is compared.
Differences are of 65535. Also says what exiftool finds new.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OPENCV_LOG_LEVEL"] = "ERROR"  # OpenCV knows no Exif

import cv2
import numpy as np
import rawpy

from dustd.errors import DustdError
from dustd.output import preview
from dustd.output.developed import orient
from dustd.output.dng import encode_dng
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera, read_source_metadata

SPOTS = ((0.5, 0.5), (0.2, 0.2), (0.8, 0.3), (0.3, 0.8), (0.7, 0.7))
RADIUS_PX = 16
REACH_PX = 64  # beyond the disc: demosaicing, noise reduction and local contrast look so far
# RawTherapee's default demosaicing (AMaZE) answers a change of 5 in one dark corner with changes all over the
# frame, its highlight recovery a change in the clipped parts; with the same samples both give the same picture.
PP3 = "[Version]\nAppVersion=5.9\nVersion=349\n\n[RAW Bayer]\nMethod=rcd\n\n[HLRecovery]\nEnabled=false\n"


def main(arguments: list[str]) -> None:
    """Print a table in Markdown."""
    spots = () if "--untouched" in arguments else SPOTS
    print("| file | samples outside | rawpy | darktable-cli | rawtherapee-cli | exiftool -validate |")
    print("|---|---|---|---|---|---|")
    for path in (Path(argument) for argument in arguments if argument != "--untouched"):
        with tempfile.TemporaryDirectory() as name:
            print(f"| {path.name} | {' | '.join(judged(path, Path(name), spots))} |", flush=True)


def judged(path: Path, folder: Path, spots: tuple) -> list[str]:
    """Clean one file and compare what the programs make of it."""
    ours = folder / "cleaned.dng"
    try:
        outside = write_cleaned(path, ours, spots)
    except DustdError as error:
        return [f"refused: {error.problem}", "", "", "", ""]
    upright = orient(outside, read_camera(path).orientation)
    same = "identical" if samples_are_same(path, ours, outside) else "DIFFERENT"
    cells = [compared(develop(path, folder), develop(ours, folder), upright) for develop in (libraw, darktable, rt)]
    new = complaints(ours) - complaints(path)
    return [same, *cells, "; ".join(sorted(new)) or "nothing new"]


def write_cleaned(path: Path, target: Path, places: tuple = SPOTS) -> np.ndarray:
    """Write the DNG with its spots; return where the visible area must look the same, (height, width) bool."""
    with open_raw(path, read_camera(path)) as opened:
        frame = opened.frame
        raw = frame.raw.copy()
        top, left, height, width = frame.visible
        spots = np.zeros((height, width), np.uint8)
        near = spots.copy()
        for x, y in places:
            centre = (round(x * width), round(y * height))
            cv2.circle(spots, centre, RADIUS_PX, 1, -1)
            cv2.circle(near, centre, RADIUS_PX + REACH_PX, 1, -1)
        visible, black = raw[top : top + height, left : left + width], float(np.mean(frame.black))
        inside = spots > 0
        visible[inside] = np.clip((visible[inside] - black) / 0.8 + black, 0, frame.white).astype(np.uint16)
        picture = preview.develop(frame, raw, opened.embedded_preview())
        metadata = read_source_metadata(path)
        target.write_bytes(encode_dng(frame, raw, metadata, preview_rgb=picture, original_name=path.name))
    return near == 0


def samples_are_same(path: Path, ours: Path, outside: np.ndarray) -> bool:
    """Compare the decoded samples away from the spots."""
    with open_raw(path, read_camera(path)) as a, open_raw(ours, read_camera(ours)) as b:
        return np.array_equal(a.frame.mosaic[outside], b.frame.mosaic[outside])


def libraw(path: Path, _folder: Path) -> np.ndarray:
    """Develop with rawpy as most programs do."""
    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0.0, output_bps=16)


def darktable(path: Path, folder: Path) -> np.ndarray | None:
    """Develop with darktable's defaults."""
    target = folder / f"{path.stem}.dt.tif"
    core = ("--core", "--configdir", folder / "dt", "--library", ":memory:")
    return _run(["darktable-cli", path, target, *core, "--conf", "plugins/imageio/format/tiff/bpp=16"], target, folder)


def rt(path: Path, folder: Path) -> np.ndarray | None:
    """Develop with RawTherapee's neutral profile and a local demosaicing."""
    target, profile = folder / f"{path.stem}.rt.tif", folder / "rcd.pp3"
    profile.write_text(PP3)
    return _run(["rawtherapee-cli", "-Y", "-p", profile, "-t", "-b16", "-o", target, "-c", path], target, folder)


def _run(command: list, target: Path, folder: Path) -> np.ndarray | None:
    environment = os.environ | {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=False, capture_output=True, timeout=600)
    if not target.exists():
        return None
    return cv2.imread(str(target), cv2.IMREAD_UNCHANGED)


def compared(source: np.ndarray | None, ours: np.ndarray | None, outside: np.ndarray) -> str:
    """Say how far two pictures differ away from the spots; a border that a developer cut off evenly is allowed for."""
    if source is None:
        return "cannot open the source" if ours is None else "cannot open the source, opens ours"
    if ours is None:
        return "CANNOT OPEN OURS"
    if source.shape != ours.shape:
        return f"SIZE {source.shape[1]}×{source.shape[0]} → {ours.shape[1]}×{ours.shape[0]}"
    top, left = ((a - b) // 2 for a, b in zip(outside.shape, source.shape[:2], strict=True))
    if min(top, left) < 0:
        return f"{source.shape[1]}×{source.shape[0]}?"
    seen = outside[top : top + source.shape[0], left : left + source.shape[1]]
    difference = np.abs(source[seen].astype(int) - ours[seen])
    return f"max {difference.max()}, mean {difference.mean():.2g}, {(difference > 1).mean():.2g} differ"


def complaints(path: Path) -> set[str]:
    """What exiftool says against a file."""
    command = ["exiftool", "-s3", "-a", "-warning", "-error", "-validate", path]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {line for line in told.splitlines() if "Warning" not in line and line != "OK"}


if __name__ == "__main__":
    main(sys.argv[1:])
