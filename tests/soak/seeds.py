"""The files that a campaign starts from: small DNGs of the virtual body in every layout, and heads of real RAWs."""

import functools
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from dustd.demo.virtual import BLACK, WHITE, XYZ_TO_CAMERA, Lens, expose, frame_of, make_body
from dustd.output.dng import encode_dng
from dustd.output.exif import exif_time
from dustd.output.tiffwrite import Directory, encode, long, rational, raw_bytes, short
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import Frame, frame_identity
from dustd.raw.tiff import text_entry

WIDTH, HEIGHT = 96, 72
TELE = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78)
GRAINS = 35  # a body with one grain, in the middle, that takes four tenths of the light at f/16
PITCH_UM = 12.0
F_NUMBER = 16
HEAD_BYTES = 96 << 10  # of files too large to be damaged twenty thousand times
XTRANS = tuple(tuple(map(int, row)) for row in ("110112", "112110", "201021", "112110", "110112", "021201"))


@dataclass(frozen=True, slots=True)
class Shot:
    """A RAW file's bytes and the identity of its exposure (`dustd.pipeline.frame_pipeline.frame_identity`)."""

    data: bytes
    frame_id: str


def shot(number: int, serial: str = "V6-SOAK") -> Shot:
    """Take a small picture with the virtual body *serial*, in a millisecond; always the same for the same arguments."""
    frame = _scene(number % 6)
    noise = np.random.default_rng([number, *serial.encode()]).integers(-9, 10, frame.raw.shape)
    taken_at = datetime(2026, 11, 1, 8) + timedelta(seconds=7 * number)
    mosaic = np.clip(frame.raw + noise, 0, WHITE).astype(np.uint16)
    data = plain(mosaic, serial=serial, taken_at=taken_at.isoformat())
    return Shot(data, frame_identity(replace(frame, raw=mosaic)))


def virtual() -> dict[str, bytes]:
    """Small DNGs in every layout that dustd knows, by name."""
    bayer = _scene(1)
    mosaic = bayer.raw
    layouts = {
        "bayer": bayer,
        "xtrans": replace(bayer, kind="xtrans", cfa=XTRANS, black=np.full((6, 6), BLACK, np.float32)),
        "mono": replace(bayer, kind="mono", cfa=((1,),), black=np.full((1, 1), BLACK, np.float32), xyz_to_camera=None),
        "linear": replace(
            bayer,
            kind="linear",
            cfa=((1,),),
            raw=np.repeat(mosaic[..., None], 3, axis=2),
            black=np.full(3, BLACK, np.float32),
        ),
    }
    return {f"virtual-{kind}.dng": _dng(frame, f"{kind}.dng") for kind, frame in layouts.items()} | {
        "virtual-plain.dng": plain(mosaic, serial="V6-SOAK", taken_at="2026-11-23T10:00:00")
    }


def real_heads(folder: Path) -> dict[str, bytes]:
    """Read the RAWs below *folder*: small ones whole, of large ones the head. Empty where there are none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.name] = file.read(HEAD_BYTES)
    return found


@functools.cache
def _scene(number: int) -> Frame:
    body = make_body("V6-SOAK", seed=GRAINS, grains=1, width=WIDTH, height=HEIGHT, pitch_um=PITCH_UM)
    taken_at = "2026-11-23T10:00:00"
    light = _backdrop(number)
    return frame_of(
        expose(body, light, f_number=F_NUMBER, lens=TELE, seed=number, taken_at=taken_at, exposure_s=1 / 125)
    )


def _backdrop(number: int) -> np.ndarray:
    """Light a plain wall from another side each time; in every third picture something dark stands at its edge."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    angle = 2 * np.pi * number / 6
    light = (0.25 + 0.06 * number) * (1 + 0.06 * (np.cos(angle) * x + np.sin(angle) * y))
    if number % 3 == 2:
        light = np.where(x > 0.6, 0.1, light)
    return np.repeat(light[..., None], 3, axis=2).astype(np.float32)


def _dng(frame: Frame, name: str) -> bytes:
    preview = np.zeros((frame.height // 2, frame.width // 2, 3), np.uint8)
    return encode_dng(frame, frame.raw, SourceMetadata(), preview_rgb=preview, original_name=name)


def plain(mosaic: np.ndarray, *, serial: str, taken_at: str, pitch_um: float = PITCH_UM) -> bytes:
    """Lay the samples out uncompressed, in one strip, with the least that a DNG and the dust map need."""
    height, width = mosaic.shape
    entries = (
        *(long(254, 0), long(256, width), long(257, height), short(258, 16), short(259, 1), short(262, 32803)),
        *(
            text_entry(271, "dustd"),
            text_entry(272, "Plain"),
            short(274, 1),
            short(277, 1),
            long(278, height),
            short(284, 1),
        ),
        *(short(33421, 2, 2), raw_bytes(33422, b"\0\1\1\2"), raw_bytes(50706, b"\1\4\0\0")),
        *(text_entry(50708, "dustd Plain"), long(50714, BLACK), long(50717, WHITE), rational(50728, 0.5, 1, 0.7)),
        *(rational(tag, *XYZ_TO_CAMERA.ravel(), signed=True) for tag in (50721, 50722)),
        *(short(50778, 17), short(50779, 21)),
    )
    exif = (
        *(rational(0x829D, F_NUMBER), rational(0x829A, 1 / 125), rational(0x920A, 70)),
        *(rational(0xA20E, 1e4 / pitch_um), rational(0xA20F, 1e4 / pitch_um), short(0xA210, 3)),  # px per cm
        *(text_entry(0x9003, exif_time(taken_at)), text_entry(0xA431, serial), text_entry(0xA434, "Virtual 70mm F2.8")),
    )
    children = {0x8769: (Directory(entries=exif),)}
    return encode(Directory(entries=entries, data=(mosaic.astype("<u2").tobytes(),), children=children))
