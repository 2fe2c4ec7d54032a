"""dustd's own mark: in every file that it makes, whatever XMP its source had; read again wherever the file lies."""

from xml.etree import ElementTree

import numpy as np
import pytest

from dustd.demo.virtual import frame_of
from dustd.output import mark
from dustd.output.developed import encode_jpeg, encode_tiff
from dustd.output.dng import encode_dng
from dustd.raw.copied_tags import SourceMetadata, read_source_metadata

RATED = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<r:Description r:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
    b"</r:RDF></x:xmpmeta>" + b" " * 100 + b'<?xpacket end="w"?>'
)


def dng(dusty_shot, xmp):
    exposure, _ = dusty_shot
    metadata = mark.marked(SourceMetadata(xmp=xmp), 'SHOT "&<1>.DNG')
    preview = np.zeros((360, 500, 3), np.uint8)
    return encode_dng(frame_of(exposure), exposure.mosaic, metadata, preview_rgb=preview, original_name="SHOT.DNG")


@pytest.mark.parametrize("xmp", [None, RATED])
def test_a_cleaned_dng_is_known_under_any_name_and_the_source_is_not(tmp_path, dusty_shot, xmp):
    path = tmp_path / "some other name.dng"
    path.write_bytes(dng(dusty_shot, xmp))
    assert mark.is_marked(path)
    path.write_bytes(dusty_shot[1])
    assert not mark.is_marked(path)


def test_what_people_wrote_into_the_packet_stays_and_it_is_still_xml(tmp_path, dusty_shot):
    path = tmp_path / "a.dng"
    path.write_bytes(dng(dusty_shot, RATED))
    xmp = read_source_metadata(path).xmp
    values = {name: value for each in ElementTree.fromstring(xmp).iter() for name, value in each.attrib.items()}
    assert values["{http://ns.adobe.com/xap/1.0/}Rating"] == "4"
    assert values["{urn:dustd:1.0/}CleanedFrom"] == 'SHOT "&<1>.DNG'


def test_the_mark_is_known_whatever_prefix_another_program_gives_it():
    packet = mark.packet("a.CR3").replace(b"dustd:Cleaned", b"ns7:Cleaned").replace(b"xmlns:dustd", b"xmlns:ns7")
    assert mark.is_marked_packet(packet)
    assert not mark.is_marked_packet(RATED)


def test_a_packet_that_is_no_xmp_is_left_as_it_is():
    for xmp in (b"", b"nonsense", b"\xff\xfe<\0"):
        assert mark.marked(SourceMetadata(xmp=xmp), "a.CR3").xmp == xmp


@pytest.mark.parametrize("xmp", [None, RATED, RATED.replace(b'"4"', b'"4" xmp:Label="' + b"x" * 70_000 + b'"')])
def test_developed_pictures_bear_it_too(tmp_path, dusty_shot, xmp):
    exposure, _ = dusty_shot
    metadata, picture = mark.marked(SourceMetadata(xmp=xmp), "a.CR3"), np.zeros((64, 96, 3), np.uint16)
    camera = frame_of(exposure).camera
    for name, data in (
        ("a.tif", encode_tiff(picture, camera, metadata)),
        ("a.jpg", encode_jpeg(picture.astype(np.uint8), camera, metadata)),
    ):
        (tmp_path / name).write_bytes(data)
        assert mark.is_marked(tmp_path / name)
