from dustd.output.xmp import of_the_picture

PACKET = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmp:Rating="4" crs:Exposure2012="+1.00" tiff:Orientation="6" dc:format="image/x-canon-cr2">
<dc:subject><rdf:Bag><rdf:li>K\xc3\xbcste</rdf:li></rdf:Bag></dc:subject>
<crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li></rdf:Seq></crs:ToneCurve>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def test_what_people_wrote_stays():
    kept = of_the_picture(PACKET).decode()
    assert 'xmp:Rating="4"' in kept
    assert "Küste" in kept


def test_develop_settings_and_the_sources_layout_go():
    kept = of_the_picture(PACKET)
    assert not [word for word in (b"Exposure", b"ToneCurve", b"Orientation", b"canon") if word in kept]


def test_a_packet_that_says_nothing_else_goes_whole():
    assert of_the_picture(PACKET.replace(b'xmp:Rating="4"', b"").replace(b"dc:subject", b"crs:subject")) is None


def test_what_is_no_xmp_goes():
    assert [of_the_picture(packet) for packet in (None, b"", b"<x", b"\xff\xfe\0")] == [None] * 4
