"""dustd's own mark in the files that it makes: a property in their XMP, which copies and other programs carry on.

By it a cleaned file that comes back is known for what it is, wherever it lies and whatever its name is.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from dustd.raw.metadata import examine

if TYPE_CHECKING:
    from dustd.raw.copied_tags import SourceMetadata

NAMESPACE = "urn:dustd:1.0/"
_PROPERTY = "CleanedFrom"
_END = re.compile(rb"</([A-Za-z_][\w.-]*):RDF\s*>")
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{{}}</rdf:RDF></x:xmpmeta>\n'
    '<?xpacket end="w"?>'
)


def marked(metadata: "SourceMetadata", source_name: str) -> "SourceMetadata":
    """Give the metadata of a cleaned file: those of its source, with the mark that names it.

    A packet in which there is no place for it (no XMP, not UTF-8) stays as it is.
    """
    if metadata.xmp is None:
        return replace(metadata, xmp=packet(source_name))
    ends = list(_END.finditer(metadata.xmp))
    if not ends:
        return metadata
    at, prefix = ends[-1].start(), ends[-1][1].decode()
    return replace(metadata, xmp=metadata.xmp[:at] + _description(source_name, prefix).encode() + metadata.xmp[at:])


def packet(source_name: str) -> bytes:
    """Make an XMP packet that holds nothing but the mark."""
    return _PACKET.format(_description(source_name, "rdf")).encode()


def is_marked(path: Path) -> bool:
    """Tell whether dustd made the file at *path*. Raises FrameError if it cannot be opened or is empty."""
    return examine(path, lambda contents: is_marked_packet(contents.xmp.read() if contents.xmp else b""))


def _description(source_name: str, prefix: str) -> str:
    name = source_name.encode(errors="backslashreplace").decode()  # need not be Unicode
    name = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return f'<{prefix}:Description {prefix}:about="" xmlns:dustd="{NAMESPACE}" dustd:{_PROPERTY}={quoteattr(name)}/>'


def is_marked_packet(xmp: bytes) -> bool:
    """Look for the mark in an XMP packet, whatever prefix another program has given its namespace."""
    return NAMESPACE.encode() in xmp and f":{_PROPERTY}".encode() in xmp
