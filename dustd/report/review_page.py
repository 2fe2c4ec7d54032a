"""Pages on which a person checks what dustd did: frame by frame, spot by spot, before and after, worst first.

Values in, text out: a `Section` is what a page shows of one frame, as data that can be kept; how it looks is
`pages/review.html`'s and `pages/frame.html`'s. A page needs no other file and no script, and a content security policy
forbids the browser to load anything.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dustd.dustmap.evidence import from_dict
from dustd.output.sidecar import Record
from dustd.pipeline.exhibit import CROP_PX, LEAST_TONE, Exhibit, Pair, in_order, risk
from dustd.raw.frame import upright
from dustd.report.templates import data_uri, render
from dustd.spots.spot import Spot

_TITLE = "dustd: review"
_ACTIONS = {"divided": "light given back", "inpainted": "filled in", "left": "left alone"}
_MARKUP_BYTES = 2_000  # of a frame, and of each of its spots, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Where a spot is in the frame, upright, px of the sensor; *shown*: there is a card for it."""

    spot_id: int
    x: float
    y: float
    radius: float
    kind: str
    action: str
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The corrected frame, upright, *width* × *height* px of the sensor; *picture* is a data URI."""

    width: int
    height: int
    picture: str
    rings: tuple[Ring, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One spot: its pictures (data URIs), what was done, why, and how to undo it."""

    spot_id: int
    action: str
    reason: str
    figures: str
    command: str
    before: str
    after: str
    brightness: float
    contrast: float
    zoom_percent: int
    rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """One spot that is not pictured."""

    spot_id: int
    action: str
    corrected: bool
    reason: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a page shows of one frame; *key* names it, *risk* is that of its worst spot.

    *failure* says why it failed; without *whole*, nothing was found. *number* counts the frames of a session's page.
    """

    key: str
    name: str
    about: str
    risk: float
    corrected: int
    failure: str | None = None
    whole: Whole | None = None
    cards: tuple[Card, ...] = ()
    rest: tuple[Rest, ...] = ()
    number: int = 0

    @property
    def size(self) -> int:
        """About the bytes that it takes on a page."""
        pictures = len(self.whole.picture) if self.whole else 0
        pictures += sum(len(card.before) + len(card.after) for card in self.cards)
        return pictures + _MARKUP_BYTES * (1 + len(self.cards)) + sum(300 + len(each.reason) for each in self.rest)


def section(key: str, record: Record, exhibit: Exhibit | None, cleaned: str) -> Section:
    """Gather what a page shows of a frame; *key* is a name for it in hexadecimal digits, *cleaned* what `dustd reject`
    is told.

    *exhibit* None means that there are no pictures: the frame failed, or nothing was found in it.
    """
    ordered, worst = record.spots, 0.0
    if record.evidence is not None and record.spots:
        seen = from_dict(record.evidence)
        ordered = in_order(record.spots, seen)
        worst = round(risk(ordered[0], seen), 6)
    pairs = {pair.spot_id: pair for pair in exhibit.pairs} if exhibit and not record.error else {}
    return Section(
        key=f"f{key}",
        name=record.source.name,
        about=about(record),
        risk=worst,
        corrected=sum(spot.action != "left" for spot in record.spots),
        failure=f"{record.error.problem}. {record.error.remedy}." if record.error else None,
        whole=_whole(record, ordered, exhibit, set(pairs)) if exhibit and not record.error else None,
        cards=tuple(_card(spot, pairs[spot.id], cleaned) for spot in ordered if spot.id in pairs),
        rest=tuple(_rest(spot, cleaned) for spot in ordered if spot.id not in pairs) if exhibit else (),
    )


def retold(each: Section, record: Record, cleaned: str) -> Section:
    """Give a frame's section anew after a person's verdicts, from its new *record*; its pictures stay as they were."""
    spots = {spot.id: spot for spot in record.spots}
    whole = each.whole
    if whole is not None:
        whole = replace(whole, rings=_rings(record, record.spots, {card.spot_id for card in each.cards}))
    cards = tuple(
        replace(
            card,
            action=_ACTIONS[spot.action],
            reason=spot.reason,
            figures=figures(spot),
            command=_command(spot, cleaned),
            rejected=spot.rejected,
        )
        for card in each.cards
        if (spot := spots.get(card.spot_id)) is not None
    )
    shown = {card.spot_id for card in cards}
    order = {row.spot_id: place for place, row in enumerate(each.rest)}
    unshown = sorted((spot for spot in record.spots if spot.id not in shown), key=lambda spot: order.get(spot.id, -1))
    rest = tuple(_rest(spot, cleaned) for spot in unshown) if whole is not None else ()
    corrected = sum(spot.action != "left" for spot in record.spots)
    return replace(each, about=about(record), corrected=corrected, whole=whole, cards=cards, rest=rest)


def page(title: str, said: str, sections: Sequence[Section]) -> str:
    """Put a page together, the sections in the order given; *said* is a sentence about all of them."""
    return render("review.html", kind=_TITLE, title=title, said=said, sections=sections, crop_px=CROP_PX)


def worst_first(found: Iterable[Section]) -> list[Section]:
    """Sort frames by the worst spot in each."""
    return sorted(found, key=lambda each: -each.risk)


def is_page(data: bytes) -> bool:
    """Tell whether a file's content is a review, so that it may be replaced by a newer one."""
    return f"<title>{_TITLE}</title>".encode() in data[:1000]


def _whole(record: Record, ordered: Sequence[Spot], exhibit: Exhibit, shown: set[int]) -> Whole:
    """Show the frame, its spots ringed."""
    width, height = record.width, record.height
    if record.camera.orientation in (5, 6, 7, 8):
        width, height = height, width
    picture = data_uri("jpeg", exhibit.overview)
    return Whole(width=width, height=height, picture=picture, rings=_rings(record, ordered, shown))


def _rings(record: Record, ordered: Sequence[Spot], shown: set[int]) -> tuple[Ring, ...]:
    """Ring the spots of a frame: a full ring where something was corrected, a broken one where not."""
    orientation, width, height = record.camera.orientation, record.width, record.height
    rings = []
    for spot in ordered:
        x, y = upright(spot.x, spot.y, width=width, height=height, orientation=orientation)
        radius = max(spot.diameter_px, 0.012 * max(width, height))
        ring = Ring(
            spot_id=spot.id,
            x=x,
            y=y,
            radius=radius,
            kind=_kind(spot),
            action=_ACTIONS[spot.action],
            shown=spot.id in shown,
        )
        rings.append(ring)
    return tuple(rings)


def _kind(spot: Spot) -> str:
    return "kept" if spot.action == "left" else "done"


def _card(spot: Spot, pair: Pair, cleaned: str) -> Card:
    return Card(
        spot_id=spot.id,
        action=_ACTIONS[spot.action],
        reason=spot.reason,
        figures=figures(spot),
        command=_command(spot, cleaned),
        before=data_uri("jpeg", pair.before),
        after=data_uri("jpeg", pair.after),
        brightness=0.5 / max(pair.tone, LEAST_TONE),
        contrast=pair.contrast,
        zoom_percent=pair.zoom_percent,
        rejected=spot.rejected,
    )


def _rest(spot: Spot, cleaned: str) -> Rest:
    return Rest(
        spot_id=spot.id,
        action=_ACTIONS[spot.action],
        corrected=spot.action != "left",
        reason=spot.reason,
        command=_command(spot, cleaned),
    )


def _command(spot: Spot, cleaned: str) -> str:
    """Say what to type to take a correction back, or to take that back; nothing for one that was left alone."""
    if spot.rejected:
        return f"dustd reject --undo {_quoted(cleaned)} {spot.id}"
    return f"dustd reject {_quoted(cleaned)} {spot.id}" if spot.action != "left" else ""


def _quoted(name: str) -> str:
    """Quote a path for a shell; one that begins with a dash would be taken for an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def about(record: Record) -> str:
    """Say how a frame was taken and what became of it."""
    camera = record.camera
    exposure = camera.exposure_s
    shutter = (f"1/{1 / exposure:.0f} s" if exposure < 0.3 else f"{exposure:g} s") if exposure else None
    taken = (camera.taken_at or "").replace("T", " ")[:19]
    facts = (
        f"{camera.make or ''} {camera.model or ''}".strip() if camera.model else None,
        f"f/{camera.f_number:.3g}" if camera.f_number else None,
        f"{camera.focal_length_mm:g} mm" if camera.focal_length_mm else None,
        shutter,
        f"ISO {camera.iso:g}" if camera.iso else None,
        taken or None,
    )
    corrected = sum(spot.action != "left" for spot in record.spots)
    wanted = sum(spot.action == "left" and spot.due for spot in record.spots)
    counts = f"{corrected} corrected, {len(record.spots) - corrected} left alone"
    counts += f" ({wanted} because it could not be done well)" if wanted else ""
    return " · ".join(filter(None, (*facts, counts if record.spots else None)))


def figures(spot: Spot) -> str:
    """Put a spot's figures into words."""
    size = f"{spot.diameter_px:.0f} px wide, takes {spot.attenuation:.0%} of the light; score {spot.score:.0%}"
    return size if spot.confidence is None else f"{size}, on the map with {spot.confidence:.0%}"
