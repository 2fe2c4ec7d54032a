"""XMP sidecars of other programs: finding elements and adding to them, everything else byte for byte as it was.

A parser tells where each element stands; text is put in at those places. Nothing here knows darktable or Adobe.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TAG = re.compile(rb"<(?:\"[^\"]*\"|'[^']*'|[^<>\"'])*>")


@dataclass(slots=True, kw_only=True)
class Element:
    """An element: *name* and the names in *attributes* are "namespace local", *start* to *end* its bytes.

    Its start tag ends at *inside*; an element without content (<a/>) has *inside* == *end*.
    """

    name: str
    attributes: dict[str, str]
    start: int
    inside: int
    end: int = 0
    children: list["Element"] = field(default_factory=list)

    def all(self) -> Iterator["Element"]:
        """Give the element and everything below it, in order."""
        yield self
        for child in self.children:
            yield from child.all()

    def child(self, name: str) -> "Element | None":
        """Find the first child of a name."""
        return next((child for child in self.children if child.name == name), None)


def parse(data: bytes, prefixes: dict[str, str]) -> Element:
    """Parse an XMP sidecar and return its rdf:RDF element.

    Raises ValueError, in words for a person, if it is none, is not UTF-8, or has other prefixes for rdf and the
    namespaces of *prefixes*, {namespace: prefix}, than everybody has.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    roots: list[Element] = []
    path: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        tag = _TAG.match(data, parser.CurrentByteIndex)
        if tag is None:
            raise ValueError("it is not UTF-8 text")
        element = Element(name=name, attributes=attributes, start=tag.start(), inside=tag.end())
        (path[-1].children if path else roots).append(element)
        path.append(element)

    def end(_: str) -> None:
        element = path.pop()
        closed = data[element.inside - 2 : element.inside] == b"/>"
        element.end = element.inside if closed else data.index(b">", parser.CurrentByteIndex) + 1

    def namespace(prefix: str | None, uri: str) -> None:
        if {RDF: "rdf", **prefixes}.get(uri, prefix) != prefix:
            raise ValueError(f"it calls the namespace {uri} {prefix!r}")

    def doctype(*_: object) -> None:
        raise ValueError("it has a document type, which XMP has not")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartNamespaceDeclHandler, parser.StartDoctypeDeclHandler = namespace, doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as exc:
        raise ValueError(f"it is no XML that can be read ({exc})") from exc
    rdf = next((element for root in roots for element in root.all() if element.name == f"{RDF} RDF"), None)
    if rdf is None:
        raise ValueError("it is no XMP")
    return rdf


def splice(data: bytes, edits: Iterable[tuple[int, int, str]]) -> bytes:
    """Replace the bytes from start to end by text, for each (start, end, text); the places must not overlap."""
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text.encode() + data[end:]
    return data


def appended(data: bytes, element: Element, text: str) -> tuple[int, int, str]:
    """Make the edit that puts *text* after an element's last child."""
    if element.inside == element.end:  # <a/> becomes <a>text</a>
        tag = data[element.start : element.end - 2].decode().rstrip()
        return element.start, element.end, f"{tag}>\n{text}\n</{tag[1:].split()[0]}>"
    at = element.children[-1].end if element.children else element.inside
    return at, at, "\n" + text


def with_attribute(data: bytes, element: Element, name: str, value: str) -> tuple[int, int, str]:
    """Make the edit that gives an attribute, written *name* with its prefix, another value. Raises ValueError."""
    tag = data[element.start : element.inside]
    found = re.search(rb"\s" + name.encode() + rb"\s*=\s*([\"'])([^\"']*)\1", tag)
    if found is None:
        raise ValueError(f"it has no {name} where dustd looks for it")
    return element.start + found.start(2), element.start + found.end(2), value
