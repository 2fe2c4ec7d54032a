"""Is the file all there? What the container promises is held against the file's size, without decoding anything.

LibRaw forgives some files that end early and fills the rest with zeros or noise; cleaned, such a frame would look
done. So a transfer that was cut short is found here first.
"""

from pathlib import Path

from dustd.errors import FrameError, cannot_be_read
from dustd.raw.tiff import Ifd, Source, number, numbers, read_tree

# Offsets and byte counts of strips, tiles and embedded JPEGs (TIFF 6.0, TIFF/EP).
_PLACES = ((273, 279), (324, 325), (513, 514))
_MAX_PARTS = 1 << 16
_IMAGE_WIDTH, _BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = 256, 258, 277
_STRIP_BYTES, _TILE_BYTES, _PHOTOMETRIC = 279, 325, 262
_DEVELOPED = (0, 1, 2, 5, 6, 8)  # grey, RGB, CMYK, YCbCr, Lab
_PICTURES = (
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"%PDF", "a PDF document"),
    *((4, b"ftyp" + brand, "a HEIF picture") for brand in (b"heic", b"heix", b"hevc", b"mif1", b"avif")),
)
_NOTES = {".xmp": "an XMP sidecar", ".pp3": "a RawTherapee sidecar", ".json": "a JSON file", ".txt": "a text file"}
_RAF_CFA_OFFSET = 100  # of the two big-endian words that say where the raw data lie and how long they are


def require_whole(path: Path) -> None:
    """Raise FrameError if *path* is shorter than its own directories say, or cannot be read."""
    try:
        with path.open("rb") as stream:
            source = Source(stream)
            missing = promised_end(source) - source.size
    except OSError as exc:
        raise cannot_be_read(exc, path) from exc
    if missing > 0:
        raise FrameError(
            f"the file was cut short: {missing:,} bytes of picture data are missing",
            remedy="Left untouched; copy it again from the card and clean it again",
            path=path,
        )


def holds_samples(path: Path) -> bool:
    """Tell a sensor's samples in a TIFF, as scientific cameras write them, from a developed picture."""
    try:
        with path.open("rb") as stream:
            images = read_tree(Source(stream))
            main = max(images, key=lambda image: number(image.get(_IMAGE_WIDTH)) or 0, default=None)
            if main is None:
                return False
            return number(main.get(_SAMPLES_PER_PIXEL)) in (None, 1) and (number(main.get(_BITS_PER_SAMPLE)) or 0) > 8
    except OSError:
        return False


def no_raw_file(path: Path) -> str | None:
    """Say what *path* is if it certainly is no RAW file but a developed picture or a note beside one; else None."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as stream:
            source = Source(stream)
            head = source.read(0, 16)
            for at, magic, what in _PICTURES:
                if head[at : at + len(magic)] == magic:
                    return what
            if suffix in (".tif", ".tiff") and _is_developed(source):
                return "a developed TIFF picture"
    except OSError:
        return None
    return _NOTES.get(suffix)


def _is_developed(source: Source) -> bool:
    """Tell a TIFF that holds little but a picture from the RAW files of old cameras with that suffix."""
    main = max(read_tree(source), key=lambda image: number(image.get(_IMAGE_WIDTH)) or 0, default=None)
    if main is None:
        return False
    stored = sum(numbers(main.get(_STRIP_BYTES), _MAX_PARTS)) + sum(numbers(main.get(_TILE_BYTES), _MAX_PARTS))
    several = (number(main.get(_SAMPLES_PER_PIXEL)) or 1) >= 3 or (number(main.get(_BITS_PER_SAMPLE)) or 1) <= 8
    return number(main.get(_PHOTOMETRIC)) in _DEVELOPED and several and 2 * stored > source.size


def promised_end(source: Source) -> int:
    """Say how long the file must be for its picture data to be complete; 0 where the format does not tell."""
    head = source.read(0, 16)
    if head[:4] in (b"II*\0", b"MM\0*"):
        return max((_image_end(image) for image in read_tree(source)), default=0)
    if head[4:8] == b"ftyp":
        return _boxes_end(source)
    if head.startswith(b"FUJIFILM"):
        words = source.read(_RAF_CFA_OFFSET, 8)
        return int.from_bytes(words[:4], "big") + int.from_bytes(words[4:], "big")
    return 0


def _image_end(image: Ifd) -> int:
    """Find where the last strip, tile or preview of one directory ends."""
    end = 0
    for offsets_tag, counts_tag in _PLACES:
        offsets = numbers(image.get(offsets_tag), _MAX_PARTS)
        counts = numbers(image.get(counts_tag), _MAX_PARTS)
        if offsets and len(offsets) == len(counts) and all(isinstance(number, int) for number in (*offsets, *counts)):
            end = max(end, *(image.base + int(o) + int(c) for o, c in zip(offsets, counts, strict=True)))
    return end


def _boxes_end(source: Source) -> int:
    """Follow the top-level boxes of an ISO media file (CR3) to the end of the last one."""
    at = 0
    while at + 8 <= source.size:
        head = source.read(at, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0 means "to the end of the file", anything else is nonsense
            return at
        at += size
    return at
