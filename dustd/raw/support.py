"""What LibRaw or dustd cannot take although the file is whole: said in words, with the way out, before decoding.

LibRaw's own answer to these is "data error", a wrong picture, or silence. Only TIFF structures are looked at (DNG, NEF,
CR2, ARW …); everything else is for LibRaw to say.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dustd.errors import FrameError, cannot_be_read
from dustd.raw.tiff import Entry, Source, number, numbers, read_tree

_SUBFILE_TYPE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 259, 262
_SAMPLE_FORMAT, _CFA_REPEAT = 339, 33421
_CFA, _LINEAR_RAW, _FLOAT = 32803, 34892, 3
_BIG_TIFF = (b"II+\0", b"MM\0+")
_CONVERT = (
    "Left untouched; set the camera to lossless or uncompressed RAW, or convert the file with Adobe's DNG converter"
    " (compatibility 1.4 to 1.6)"
)
# DNG 1.7.1 and makers' own; those that LibRaw reads are not here.
_UNREADABLE = {52546: "JPEG XL", 50002: "JPEG XL", 9: "VC-5 (GoPro)"}


def require_supported(path: Path) -> None:
    """Raise FrameError, with what to do, if *path* holds samples that cannot be cleaned as they are."""
    try:
        with path.open("rb") as stream:
            source = Source(stream)
            head = source.read(0, 4)
            if head in _BIG_TIFF:
                raise FrameError("it is a BigTIFF, which LibRaw cannot read", remedy=_CONVERT, path=path)
            if head[:2] in (b"II", b"MM"):
                _refuse_any([image for image in read_tree(source) if _is_main(image)], path)
    except OSError as exc:
        raise cannot_be_read(exc, path) from exc


def _refuse_any(samples: Sequence[Mapping[int, Entry]], path: Path) -> None:
    for image in samples:
        _refuse(image, path)
    sizes = {(number(image.get(_WIDTH)), number(image.get(_HEIGHT))) for image in samples}
    if len(samples) > 1 and len(sizes) == 1:
        raise FrameError(
            f"it holds {len(samples)} raw pictures (pixel shift or a burst), and a cleaned copy would keep one",
            remedy="Left untouched; merge or split it with the camera maker's software first",
            path=path,
        )


def _is_main(image: Mapping[int, Entry]) -> bool:
    """Tell whether a directory holds a full-size picture of samples: no preview, mask, depth map or gain map."""
    return (number(image.get(_SUBFILE_TYPE)) or 0) == 0 and number(image.get(_PHOTOMETRIC)) in (_CFA, _LINEAR_RAW)


def _refuse(image: Mapping[int, Entry], path: Path) -> None:
    compression = number(image.get(_COMPRESSION))
    if compression in _UNREADABLE:
        name = _UNREADABLE[int(compression)]
        raise FrameError(f"its samples are compressed by {name}, which LibRaw cannot read", remedy=_CONVERT, path=path)
    if _FLOAT in numbers(image.get(_SAMPLE_FORMAT)):
        raise FrameError(
            "its samples are floating-point numbers, as of an HDR merge, and a cleaned copy would round them",
            remedy="Left untouched; clean the frames that it was merged from, and merge those",
            path=path,
        )
    pattern = numbers(image.get(_CFA_REPEAT))
    if number(image.get(_PHOTOMETRIC)) == _CFA and pattern and tuple(pattern) not in ((2, 2), (6, 6)):
        sides = "×".join(f"{side:g}" for side in pattern)
        raise FrameError(
            f"its {sides} colour pattern is not handled (quad Bayer)",
            remedy="Left untouched; let the camera bin it, or convert it to a linear DNG first",
            path=path,
        )
