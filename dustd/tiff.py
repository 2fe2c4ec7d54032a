"""TIFF directory entries, the currency of RAW metadata: read from sources, written into DNGs."""

from dataclasses import dataclass

# Bytes per value of each TIFF field type (TIFF 6.0 §2, plus IFD = 13).
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One directory entry; *data* holds its *count* values as little-endian bytes, whatever the source's order."""

    tag: int
    type: int
    count: int
    data: bytes
