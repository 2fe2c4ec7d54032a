"""XMP packets: what a developed picture may keep of its source's.

A DNG takes the packet as it is, for it replaces the source. A developed picture keeps what people wrote about the
picture (rating, keywords, caption, copyright); develop settings would be carried out on it a second time.
"""

from xml.etree import ElementTree

from dustd.output.mark import NAMESPACE

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# Namespaces of descriptions (XMP Specification Part 2; IPTC Photo Metadata; Lightroom's keyword tree).
_KEPT = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "dustd": NAMESPACE,
}
_OF_THE_FILE = {f"{{{_KEPT['dc']}}}format", f"{{{_KEPT['photoshop']}}}SidecarForExtension"}


def of_the_picture(packet: bytes | None) -> bytes | None:
    """Reduce *packet* to what describes the picture; None if nothing does, or if it is no XMP."""
    if packet is None:
        return None
    try:
        root = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    descriptions = []
    for description in root.iter(f"{{{_RDF}}}Description"):
        kept = ElementTree.Element(description.tag, {f"{{{_RDF}}}about": ""})
        kept.attrib |= {name: value for name, value in description.attrib.items() if _describes(name)}
        kept.extend(child for child in description if _describes(child.tag))
        if len(kept) or len(kept.attrib) > 1:
            descriptions.append(kept)
    if not descriptions:
        return None
    for prefix, uri in {"x": "adobe:ns:meta/", "rdf": _RDF, **_KEPT}.items():
        ElementTree.register_namespace(prefix, uri)
    meta = ElementTree.Element("{adobe:ns:meta/}xmpmeta")
    ElementTree.SubElement(meta, f"{{{_RDF}}}RDF").extend(descriptions)
    head, tail = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n', b'\n<?xpacket end="w"?>'
    return head + ElementTree.tostring(meta, encoding="utf-8") + tail


def _describes(name: str) -> bool:
    namespace = name[1:].partition("}")[0]
    return namespace in _KEPT.values() and name not in _OF_THE_FILE
