"""Heals as an edit of Lightroom and Camera Raw: crs:RetouchAreas in the sidecar IMG.xmp. EXPERIMENTAL.

The structure is that of real Lightroom files, and exiftool reads it so; no Adobe program was ever tried. Places are
shares of the unrotated picture as Adobe crops it, which is taken to be the camera's own picture in the middle of the
visible area; lengths are shares of its width.
"""

import zlib
from collections.abc import Sequence

from dustd.output import xmpedit
from dustd.spots.heal import Heal, Healing, not_at

_NAMESPACE = "http://ns.adobe.com/camera-raw-settings/1.0/"
_SETTINGS = {"Version": "15.0", "ProcessVersion": "11.0", "HasSettings": "True"}

_SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="dustd">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
{description}
 </rdf:RDF>
</x:xmpmeta>
"""


def new_sidecar(healing: Healing) -> tuple[bytes, int]:
    """Write a sidecar that holds the heals and nothing else; say how many."""
    description = _description(healing.heals, healing, _SETTINGS)
    return _SIDECAR.format(description=description).encode(), len(healing.heals)


def merged(existing: bytes, healing: Healing) -> tuple[bytes, int]:
    """Add the heals to a sidecar's retouching, everything else as it was; say how many.

    Spots that it heals already are left out. Raises ValueError, in words for a person, if it cannot take them.
    """
    rdf = xmpedit.parse(existing, {_NAMESPACE: "crs"})
    known = {
        name.removeprefix(f"{_NAMESPACE} ")
        for each in rdf.children
        for name in (*each.attributes, *(child.name for child in each.children))
    }
    areas = next((area for each in rdf.children if (area := each.child(_name("RetouchAreas")))), None)
    if areas is None:
        missing = {name: value for name, value in _SETTINGS.items() if name not in known}
        added = _description(healing.heals, healing, missing)
        return xmpedit.splice(existing, [xmpedit.appended(existing, rdf, added)]), len(healing.heals)
    sequence = areas.child(f"{xmpedit.RDF} Seq")
    if sequence is None:
        raise ValueError("its retouching is written in a way that dustd does not know")
    healed = [
        _unplaced(float(mask.attributes[_name("X")]), float(mask.attributes[_name("Y")]), healing)
        for mask in sequence.all()
        if _name("X") in mask.attributes and _name("Y") in mask.attributes
    ]
    heals = not_at(healing.heals, healed)
    if not heals:
        return existing, 0
    return xmpedit.splice(existing, [xmpedit.appended(existing, sequence, _areas(heals, healing))]), len(heals)


def _name(local: str) -> str:
    return f"{_NAMESPACE} {local}"


def _description(heals: Sequence[Heal], healing: Healing, settings: dict[str, str]) -> str:
    attributes = "".join(f'\n   crs:{name}="{value}"' for name, value in settings.items())
    return f"""  <rdf:Description rdf:about=""
    xmlns:crs="{_NAMESPACE}"{attributes}>
   <crs:RetouchAreas>
    <rdf:Seq>
{_areas(heals, healing)}
    </rdf:Seq>
   </crs:RetouchAreas>
  </rdf:Description>"""


def _areas(heals: Sequence[Heal], healing: Healing) -> str:
    """Write an area per heal. It is true: OffsetY holds the source's y, and there is no SourceY."""
    items = []
    for heal in heals:
        x, y = _placed(heal.x, heal.y, healing)
        source_x, source_y = _placed(heal.source_x, heal.source_y, healing)
        reach = heal.radius_px + heal.feather_px
        size, feather = reach / healing.picture[0], heal.feather_px / reach
        seed = zlib.crc32(f"{x:.6f} {y:.6f}".encode())
        items.append(f"""     <rdf:li>
      <rdf:Description
       crs:SpotType="heal"
       crs:SourceState="sourceSetExplicitly"
       crs:Method="gaussian"
       crs:HealVersion="2"
       crs:SourceX="{source_x:.6f}"
       crs:OffsetY="{source_y:.6f}"
       crs:Opacity="1"
       crs:Feather="{feather:.6f}"
       crs:Seed="{seed % 100}">
      <crs:Masks>
       <rdf:Seq>
        <rdf:li
         crs:What="Mask/Ellipse"
         crs:MaskActive="true"
         crs:MaskBlendMode="0"
         crs:MaskInverted="false"
         crs:MaskSyncID="{seed:032X}"
         crs:MaskValue="1"
         crs:X="{x:.6f}"
         crs:Y="{y:.6f}"
         crs:SizeX="{size:.6f}"
         crs:SizeY="{size:.6f}"
         crs:Alpha="0"
         crs:CenterValue="1"
         crs:PerimeterValue="0"/>
       </rdf:Seq>
      </crs:Masks>
      </rdf:Description>
     </rdf:li>""")
    return "\n".join(items)


def _placed(x: float, y: float, healing: Healing) -> tuple[float, float]:
    """Say where a place of the frame lies in Adobe's picture, as shares of its sides."""
    (width, height), (left, top) = healing.picture, _corner(healing)
    return (x + 0.5 - left) / width, (y + 0.5 - top) / height


def _unplaced(x: float, y: float, healing: Healing) -> tuple[float, float]:
    """Undo `_placed`."""
    (width, height), (left, top) = healing.picture, _corner(healing)
    return x * width + left - 0.5, y * height + top - 0.5


def _corner(healing: Healing) -> tuple[float, float]:
    height, width = healing.visible[2:]
    return (width - healing.picture[0]) / 2, (height - healing.picture[1]) / 2
