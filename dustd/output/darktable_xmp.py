"""Heals as an edit of darktable: an instance of its module retouch, named dustd, in the sidecar IMG.CR3.xmp.

Layout tried with darktable 4.2.1; structs as in its src/iop/retouch.c and src/develop/blend.h. Places are shares of
the whole unrotated sensor area, borders included, lengths shares of its shorter side. darktable turns and crops
afterwards, so orientation plays no part here.
"""

import base64
import struct
import zlib
from collections.abc import Collection, Sequence

from dustd.output import xmpedit
from dustd.spots.heal import Heal, Healing, not_at

MOST = 300  # forms that one instance of retouch holds
INSTANCE = "dustd"
_NAMESPACE = "http://darktable.sf.net/"
_CIRCLE, _GROUP, _CLONE, _ELLIPSE = 1, 4, 8, 32  # DT_MASKS_…
_RETOUCH_VERSION, _BLENDOP_VERSION, _MASK_VERSION = 3, 11, 6

_SIDECAR = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="dustd">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
{description}
 </rdf:RDF>
</x:xmpmeta>
"""
# auto_presets_applied="0" makes darktable put its usual first edits below ours.
_DESCRIPTION = """  <rdf:Description rdf:about=""
    xmlns:darktable="http://darktable.sf.net/"
   darktable:xmp_version="5"
   darktable:raw_params="0"
   darktable:auto_presets_applied="0"
   darktable:history_end="1">
{masks}
   <darktable:history>
    <rdf:Seq>
{step}
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>"""
_MASKS = """   <darktable:masks_history>
    <rdf:Seq>
{masks}
    </rdf:Seq>
   </darktable:masks_history>"""


def new_sidecar(healing: Healing) -> tuple[bytes, int]:
    """Write a sidecar that holds the first MOST heals and nothing else; say how many."""
    heals = healing.heals[:MOST]
    return _SIDECAR.format(description=_description(healing, heals)).encode(), len(heals)


def merged(existing: bytes, healing: Healing) -> tuple[bytes, int]:
    """Add the heals to a sidecar as one more instance of retouch, the last step of its history; say how many.

    Spots that a circle or ellipse of any retouching covers already are left out. Raises ValueError, in words for a
    person, if the sidecar cannot take them.
    """
    rdf = xmpedit.parse(existing, {_NAMESPACE: "darktable"})
    described = next((each for each in rdf.children if each.child(_name("history"))), None)
    if described is None:
        if b"darktable:" in existing:
            raise ValueError("it is darktable's, but has no history")
        heals = healing.heals[:MOST]
        return xmpedit.splice(existing, [xmpedit.appended(existing, rdf, _description(healing, heals))]), len(heals)
    history = _sequence(described, "history")
    steps = [item.attributes for item in history.children]
    if [step.get(_name("num")) for step in steps] != [str(n) for n in range(len(steps))]:
        raise ValueError("its history is written in a way that dustd does not know")
    if described.attributes.get(_name("history_end")) != str(len(steps)):
        raise ValueError("some steps at the end of its history are undone; compress the history in darktable first")
    masks = _sequence(described, "masks_history") if described.child(_name("masks_history")) else None
    behind = described.child(_name("history"))
    last = _last_masks(masks.children if masks else [])
    heals = not_at(healing.heals, _places(last, healing))[:MOST]
    if not heals:
        return existing, 0
    number = len(steps)
    ids = _ids(heals, taken={_number(mask, "mask_id") for mask in last})
    # Each step repeats the forms of all steps before it.
    repeated = [_renumbered(existing, mask, number) for mask in last]
    added = "\n".join([*repeated, _masks(heals, ids, healing, number)])
    priority = 1 + max(
        (int(step.get(_name("multi_priority"), 0)) for step in steps if step.get(_name("operation")) == "retouch"),
        default=-1,
    )
    order = described.attributes.get(_name("iop_order_list"), "")
    if priority and not order:  # darktable 4.2.1 passes over a second instance that no list places
        raise ValueError("it holds retouching already, beside which darktable would not show dustd's")
    edits = [
        xmpedit.with_attribute(existing, described, "darktable:history_end", str(number + 1)),
        xmpedit.appended(existing, history, _step(ids, number, priority)),
    ]
    if masks is not None:
        edits.append(xmpedit.appended(existing, masks, added))
    elif behind is not None:
        edits.append((behind.start, behind.start, _MASKS.format(masks=added).lstrip() + "\n   "))
    if priority:
        edits.append(
            xmpedit.with_attribute(existing, described, "darktable:iop_order_list", _with_instance(order, priority))
        )
    return xmpedit.splice(existing, edits), len(heals)


def _name(local: str) -> str:
    return f"{_NAMESPACE} {local}"


def _sequence(described: xmpedit.Element, local: str) -> xmpedit.Element:
    """Find the list inside a property. Raises ValueError."""
    holder = described.child(_name(local))
    sequence = holder and holder.child(f"{xmpedit.RDF} Seq")
    if sequence is None:
        raise ValueError(f"its {local} is written in a way that dustd does not know")
    return sequence


def _last_masks(masks: Sequence[xmpedit.Element]) -> list[xmpedit.Element]:
    """Give the forms as the last step that has any left them."""
    numbers = [_number(mask, "mask_num") for mask in masks]
    return [mask for mask, number in zip(masks, numbers, strict=True) if number == max(numbers)]


def _number(mask: xmpedit.Element, local: str) -> int:
    try:
        return int(mask.attributes[_name(local)])
    except (KeyError, ValueError):
        raise ValueError("its masks are written in a way that dustd does not know") from None


def _places(masks: Sequence[xmpedit.Element], healing: Healing) -> list[tuple[float, float]]:
    """Find where discs are laid over the picture already, in frame coordinates. Raises ValueError."""
    top, left = healing.visible[:2]
    places = []
    for mask in masks:
        kind = _number(mask, "mask_type")
        if kind & _CLONE and kind & (_CIRCLE | _ELLIPSE):
            x, y = struct.unpack_from("<2f", _unpacked(mask.attributes.get(_name("mask_points"), "")))
            places.append((x * healing.raw_width - left - 0.5, y * healing.raw_height - top - 0.5))
    return places


def _renumbered(existing: bytes, mask: xmpedit.Element, number: int) -> str:
    """Repeat a form for another step."""
    start, end, text = xmpedit.with_attribute(existing, mask, "darktable:mask_num", str(number))
    return "     " + (existing[mask.start : start] + text.encode() + existing[end : mask.end]).decode()


def _with_instance(order: str, priority: int) -> str:
    """Put another instance of retouch behind the last one in "module,instance,module,instance,…"."""
    names = order.split(",")
    at = max((k for k in range(0, len(names) - 1, 2) if names[k] == "retouch"), default=None)
    return order if at is None else ",".join([*names[: at + 2], "retouch", str(priority), *names[at + 2 :]])


def _description(healing: Healing, heals: Sequence[Heal]) -> str:
    """Write a history of one step."""
    ids = _ids(heals, taken=())
    masks = _MASKS.format(masks=_masks(heals, ids, healing, 0))
    return _DESCRIPTION.format(masks=masks, step=_step(ids, 0, 0))


def _ids(heals: Sequence[Heal], *, taken: Collection[int]) -> list[int]:
    """Give each heal's form an id, and a last one to their group: positive, none of them *taken*.

    They depend on the places alone, so that the same frame gives the same file.
    """
    used, ids = {0, *taken}, []
    for place in (*((heal.x, heal.y) for heal in heals), (-1.0, -1.0)):
        number = zlib.crc32(struct.pack("<2d", *place)) & 0x7FFFFFFF
        while number in used:
            number = (number + 1) & 0x7FFFFFFF
        used.add(number)
        ids.append(number)
    return ids


def _masks(heals: Sequence[Heal], ids: Sequence[int], healing: Healing, number: int) -> str:
    """Describe a circle per heal and their group, for the step *number* of the history."""
    *forms, group = ids
    top, left = healing.visible[:2]
    width, height = healing.raw_width, healing.raw_height
    short = min(width, height)

    def place(x: float, y: float) -> tuple[float, float]:
        return (x + left + 0.5) / width, (y + top + 0.5) / height  # pixel centres are at integers here, not there

    items = []
    for heal, form in zip(heals, forms, strict=True):
        points = struct.pack("<4f", *place(heal.x, heal.y), heal.radius_px / short, heal.feather_px / short)
        source = struct.pack("<2f", *place(heal.source_x, heal.source_y))
        items.append(_mask(number, form, _CIRCLE | _CLONE, f"{INSTANCE} {heal.spot_id}", 1, points, source))
    # A member's state: SHOW 1 | USE 2, and UNION 8 with those before it.
    members = [struct.pack("<3if", form, group, 11 if k else 3, 1.0) for k, form in enumerate(forms)]
    items.append(_mask(number, group, _GROUP | _CLONE, INSTANCE, len(forms), b"".join(members), bytes(8)))
    return "\n".join(items)


def _mask(number: int, form: int, kind: int, name: str, count: int, points: bytes, source: bytes) -> str:
    return f"""     <rdf:li
      darktable:mask_num="{number}"
      darktable:mask_id="{form}"
      darktable:mask_type="{kind}"
      darktable:mask_name="{name}"
      darktable:mask_version="{_MASK_VERSION}"
      darktable:mask_points="{_packed(points)}"
      darktable:mask_nb="{count}"
      darktable:mask_src="{source.hex()}"/>"""


def _step(ids: Sequence[int], number: int, priority: int) -> str:
    """Describe the step of the history that adds the instance of retouch."""
    *forms, group = ids
    return f"""     <rdf:li
      darktable:num="{number}"
      darktable:operation="retouch"
      darktable:enabled="1"
      darktable:modversion="{_RETOUCH_VERSION}"
      darktable:params="{_packed(_retouch(forms))}"
      darktable:multi_name="{INSTANCE}"
      darktable:multi_priority="{priority}"
      darktable:blendop_version="{_BLENDOP_VERSION}"
      darktable:blendop_params="{_packed(_blendop(group))}"/>"""


def _retouch(forms: Sequence[int]) -> bytes:
    """dt_iop_retouch_params_t: per form its id and the algorithm, heal; then the module's own defaults."""
    heal = 2
    each = [struct.pack("<4i f i 4f i", form, 0, heal, 0, 0, 0, 0, 0, 0, 0, 2) for form in forms]
    rest = struct.pack("<4i 3f i f i 4f i", heal, 0, 0, 0, -3, 0, 3, 0, 10, 0, 0, 0, 0, 0, 2000)
    return b"".join(each).ljust(44 * MOST, b"\0") + rest


def _blendop(group: int) -> bytes:
    """dt_develop_blend_params_t: full opacity where the forms of *group* are; all else at its default."""
    data = bytearray(420)
    for at, value in ((4, 4), (8, 24), (24, group), (36, 5), (56, 1), (412, -1)):
        struct.pack_into("<i", data, at, value)
    struct.pack_into("<f", data, 16, 100.0)
    for channel in range(16):
        struct.pack_into("<2f", data, 76 + 16 * channel, 1.0, 1.0)
    for at in (356, 360, 372, 376):
        struct.pack_into("<f", data, at, -6.6438562)
    return bytes(data)


def _packed(data: bytes) -> str:
    """Encode as darktable does: hexadecimal, or if long compressed, led by the factor (2 digits) that it grows by."""
    if len(data) < 100:
        return data.hex()
    small = zlib.compress(data)
    return f"gz{min(99, len(data) // len(small) + 1):02d}" + base64.b64encode(small).decode()


def _unpacked(text: str) -> bytes:
    """Undo `_packed`. Raises ValueError."""
    try:
        data = zlib.decompress(base64.b64decode(text[4:])) if text.startswith("gz") else bytes.fromhex(text)
    except zlib.error as exc:
        raise ValueError("one of its masks is damaged") from exc
    if len(data) < 8:
        raise ValueError("one of its masks is damaged")
    return data
