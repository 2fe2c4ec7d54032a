"""What an output file says about its exposure: the source's own Exif, completed by what dustd read from elsewhere.

Makers hide lens, serial number and more in their notes; the Exif tags written here make them readable to everyone.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from dustd import __version__
from dustd.output.tiffwrite import UNDEFINED, Directory, long, rational, raw_bytes, short
from dustd.raw.frame import Camera
from dustd.raw.tiff import Entry, text_entry

if TYPE_CHECKING:
    from dustd.raw.copied_tags import SourceMetadata

SOFTWARE = f"dustd {__version__}"
_EXIF_POINTER, _GPS_POINTER = 34665, 34853
# Describe the source's own layout: SubIFDs, pointers to Exif, GPS and Interop, MakerNote, pixel size.
_OF_THE_SOURCE = {330, _EXIF_POINTER, _GPS_POINTER, 40965, 37500, 40962, 40963}
_VERSION, _LEAST_VERSION = 36864, b"0230"  # from which serial number and lens have tags
# Say how a JPEG's pixels are stored and have no place elsewhere: components, bits per pixel, size (Exif 2.32 §4.6.8).
_OF_JPEG = {37121, 37122, 40962, 40963}
_DNG_TAGS = range(50706, 1 << 16)


def about(camera: Camera, metadata: "SourceMetadata") -> tuple[Entry, ...]:
    """Say in IFD0 who made the picture and with what: make, model, date, author, software."""
    copied = {entry.tag: entry for entry in metadata.ifd0 if entry.tag not in _OF_THE_SOURCE}
    ours = [text_entry(305, SOFTWARE)]
    if camera.make:
        ours.append(text_entry(271, camera.make))
    if camera.model:
        ours.append(text_entry(272, camera.model))
    taken_at = exif_time(camera.taken_at)
    if taken_at and 306 not in copied:
        ours.append(text_entry(306, taken_at))
    return tuple((copied | {entry.tag: entry for entry in ours}).values())


def about_rendered(camera: Camera, metadata: "SourceMetadata") -> tuple[Entry, ...]:
    """Say the same for a developed picture, which is upright and has no use for DNG tags."""
    entries = (entry for entry in about(camera, metadata) if entry.tag not in _DNG_TAGS)
    return (*entries, short(274, 1), rational(282, 300), rational(283, 300), short(296, 2))


def exif_directories(
    camera: Camera, metadata: "SourceMetadata", *, about_pixels: tuple[Entry, ...] = ()
) -> dict[int, tuple[Directory, ...]]:
    """Collect the Exif and, where there is one, the GPS directory, by the tags that point at them.

    The source's entries win over what *camera* says, *about_pixels* over both.
    """
    copied = tuple(entry for entry in metadata.exif if entry.tag not in _OF_THE_SOURCE | _OF_JPEG)
    exif = {entry.tag: entry for entry in (*_exif_from_camera(camera), *copied, *about_pixels)}
    if exif[_VERSION].data < _LEAST_VERSION:
        exif[_VERSION] = raw_bytes(_VERSION, _LEAST_VERSION, type=UNDEFINED)
    directories: dict[int, tuple[Directory, ...]] = {_EXIF_POINTER: (Directory(entries=tuple(exif.values())),)}
    if metadata.gps:
        directories[_GPS_POINTER] = (Directory(entries=metadata.gps),)
    return directories


def about_pixels(*, srgb: bool) -> tuple[Entry, ...]:
    """Say in Exif how a developed picture's numbers are meant: sRGB (40961 = 1), or as the profile says."""
    return raw_bytes(40960, b"0100", type=UNDEFINED), short(40961, 1 if srgb else 0xFFFF)


def about_jpeg(*, width: int, height: int) -> tuple[Entry, ...]:
    """Say in Exif how a JPEG is stored: YCbCr in that order, its size."""
    return raw_bytes(37121, b"\1\2\3\0", type=UNDEFINED), long(40962, width), long(40963, height)


def exif_time(taken_at: str | None) -> str | None:
    """Turn an ISO 8601 time into Exif's "YYYY:MM:DD HH:MM:SS"; None stays None, and so does what is no time."""
    try:
        return datetime.fromisoformat(taken_at).strftime("%Y:%m:%d %H:%M:%S") if taken_at else None
    except ValueError:
        return None


def _exif_from_camera(camera: Camera) -> list[Entry]:
    """Write the camera's values as Exif 2.32 entries."""
    entries = [raw_bytes(_VERSION, b"0232", type=UNDEFINED)]
    numbers = ((33434, camera.exposure_s), (33437, camera.f_number), (37386, camera.focal_length_mm))
    entries += [rational(tag, value) for tag, value in numbers if value]
    texts = ((36867, exif_time(camera.taken_at)), (42033, camera.serial), (42036, camera.lens))
    entries += [text_entry(tag, value) for tag, value in texts if value]
    if camera.iso and round(camera.iso) < 1 << 16:
        entries.append(short(34855, round(camera.iso)))
    return entries
