"""Pages on which a person checks what dustd did: frame by frame, spot by spot, before and after, worst first.

Values in, text out. A page needs no other file and no script, and a content security policy forbids the browser to
load anything; whatever comes from a file, such as its name, is escaped. A page is made of sections, one per frame,
between comments that tell it where they begin and end (`sections`), so that a page can be carried on.
"""

import base64
import html
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dustd.dustmap.evidence import from_dict
from dustd.output.sidecar import Record
from dustd.pipeline.exhibit import CROP_PX, Exhibit, Pair, in_order, risk
from dustd.raw.frame import upright
from dustd.spots.spot import Spot

_TITLE = "<title>dustd: review</title>"
_CSS = """
:root { color-scheme: light dark; --ink: #1d1d1d; --soft: #5c5c5c; --paper: #f4f4f3; --card: #fff; --line: #dcdcda;
  --mark: #c2410c; --left: #6b7280; --focus: #2563eb }
@media (prefers-color-scheme: dark) { :root { --ink: #dedede; --soft: #9c9c9c; --paper: #1b1b1b; --card: #242424;
  --line: #383838; --mark: #fb923c; --left: #9ca3af; --focus: #93c5fd } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; color: var(--ink); background: var(--paper);
  overflow-wrap: anywhere }
header, main { max-width: 86rem; margin: 0 auto; padding: 0 1.5rem }
header { padding-top: 2rem }
h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .3rem } h2 { font-size: 1.15rem; font-weight: 600; margin: 0 }
p { margin: .2rem 0; max-width: 62rem } .soft, figcaption, summary { color: var(--soft); font-size: .87rem }
a { color: inherit } :focus-visible { outline: 2px solid var(--focus); outline-offset: 2px }
.bar { position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--line) }
.bar div { max-width: 86rem; margin: 0 auto; padding: .5rem 1.5rem; display: flex; gap: .6rem; align-items: center;
  flex-wrap: wrap }
#raise { position: fixed; opacity: 0 }
.switch { border: 1px solid var(--line); border-radius: 1rem; background: var(--card); padding: .1rem; display: flex }
.bar label { cursor: pointer; padding: .1rem .8rem; border-radius: 1rem; font-size: .87rem }
#raise:checked ~ .bar .on, #raise:not(:checked) ~ .bar .off { background: var(--ink); color: var(--paper) }
#raise:focus-visible ~ .bar .switch { outline: 2px solid var(--focus); outline-offset: 2px }
#raise:checked ~ main .pair img { filter: grayscale(1) brightness(var(--b)) contrast(var(--c)) }
section { margin: 2.2rem 0; scroll-margin-top: 4rem }
.frame { display: grid; grid-template-columns: minmax(0, 1fr); gap: .9rem 1.5rem; margin-top: .8rem }
@media (min-width: 60rem) { .frame { grid-template-columns: minmax(0, 22rem) minmax(0, 1fr) } }
figure { margin: 0 } img, svg { display: block; max-width: 100%; height: auto }
.whole { position: relative; align-self: start } @media (min-width: 60rem) { .whole { position: sticky; top: 3.6rem } }
.whole img { width: 100%; border-radius: 4px } .whole svg { position: absolute; inset: 0; width: 100%; height: 100% }
.whole circle { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; pointer-events: all }
.done { stroke: var(--mark) } .kept { stroke: #fff; stroke-dasharray: 3 3 }
.spots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 1fr)); gap: 1rem;
  align-content: start; list-style: none; margin: 0; padding: 0 }
.spot { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .7rem;
  scroll-margin-top: 4rem } .spot:target { border-color: var(--mark) }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 3px }
.pair img { width: 100%; aspect-ratio: 1; border-radius: 3px } .pair figcaption { text-align: center }
.spot h3 { font-size: .95rem; font-weight: 600; margin: .4rem 0 .1rem } .spot p { font-size: .87rem }
.spot p::first-letter { text-transform: uppercase }
code { font: .82rem ui-monospace, monospace; user-select: all; background: var(--paper); border: 1px solid var(--line);
  border-radius: 4px; padding: .05rem .35rem; display: inline-block; margin-top: .3rem }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; margin-top: .4rem }
th, td { text-align: left; padding: .1rem 1rem .1rem 0; vertical-align: top; font-weight: 400 }
th { color: var(--soft) }
@media print { .bar { position: static } .spot, .whole { break-inside: avoid } }
"""
_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
{_TITLE}
<style>{_CSS}</style></head><body>
<input type="checkbox" id="raise" checked aria-label="Raise the contrast of the spots">
<header><h1>{{title}}</h1>
<p class="soft">{{said}}</p>
<p class="soft">Worst first: the corrections that would do most harm if they were wrong, being the least certain, the
largest, and those on the most detailed ground. If one took away something real, run its command in the folder of the
cleaned files: the pixels come back from the original, and dustd remembers.</p>
{{contents}}</header>
<div class="bar"><div><span class="switch"><label for="raise" class="on">contrast raised</label><label for="raise"
class="off">as developed</label></span><span class="soft">click, or Tab and the space bar</span></div></div>
<main>
"""
_ACTIONS = {"divided": "light given back", "inpainted": "filled in", "left": "left alone"}
_BEGIN, _END = "<!--frame {key} {risk:.6f} {corrected}-->", "<!--end of frame-->"
_SECTION = re.compile(r"<!--frame (?P<key>f[0-9a-f]+) (?P<risk>[0-9.]+) (?P<corrected>[0-9]+)-->.*?" + _END, re.DOTALL)
_NAME = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The part of a page that shows one frame; *key* names it, *risk* is that of its worst spot."""

    key: str
    risk: float
    corrected: int
    text: str


def section(key: str, record: Record, exhibit: Exhibit | None, cleaned: str) -> Section:
    """Lay out one frame; *key* is a name for it in hexadecimal digits, *cleaned* what `dustd reject` is told.

    *exhibit* None means that there are no pictures: the frame failed, or nothing was found in it.
    """
    key = f"f{key}"
    corrected = sum(spot.action != "left" for spot in record.spots)
    ordered, worst = record.spots, 0.0
    if record.evidence is not None and record.spots:
        seen = from_dict(record.evidence)
        ordered = in_order(record.spots, seen)
        worst = round(risk(ordered[0], seen), 6)
    parts = [
        _BEGIN.format(key=key, risk=worst, corrected=corrected),
        f'<section id="{key}" aria-label="{_text(record.source.name)}"><h2>{_text(record.source.name)}</h2>',
        f'<p class="soft">{_text(_about(record))}</p>',
    ]
    if record.error:
        parts.append(f"<p>Failed: {_text(record.error.problem)}. {_text(record.error.remedy)}.</p>")
    elif exhibit is None:
        parts.append('<p class="soft">No dust was found.</p>')
    else:
        pairs = {pair.spot_id: pair for pair in exhibit.pairs}
        cards = [_card(key, spot, pairs[spot.id], cleaned) for spot in ordered if spot.id in pairs]
        rest = [spot for spot in ordered if spot.id not in pairs]
        cards_list = f'<ol class="spots">{"".join(cards)}</ol>' if cards else ""
        parts.append(
            f'<div class="frame">{_whole(key, record, ordered, exhibit, set(pairs))}'
            f"<div>{cards_list}{_table(rest, cleaned)}</div></div>"
        )
    parts.append(f"</section>{_END}")
    return Section(key=key, risk=worst, corrected=corrected, text="\n".join(parts))


def page(title: str, said: str, sections: Sequence[Section]) -> str:
    """Put a page together, the sections in the order given; *said* is a sentence about all of them."""
    contents = ""
    if len(sections) > 1:
        rows = "".join(
            f'<tr><td><a href="#{each.key}">{_name(each)}</a></td><td>{each.corrected} corrected</td></tr>'
            for each in sections
        )
        contents = f"<details><summary>All {len(sections)} frames</summary><table>{rows}</table></details>"
    head = _HEAD.replace("{title}", _text(title)).replace("{said}", _text(said)).replace("{contents}", contents)
    return head + "\n".join(each.text for each in sections) + "\n</main></body></html>\n"


def sections(text: str) -> tuple[Section, ...]:
    """Take a page apart again."""
    return tuple(
        Section(key=m["key"], risk=float(m["risk"]), corrected=int(m["corrected"]), text=m[0])
        for m in _SECTION.finditer(text)
    )


def worst_first(found: Iterable[Section]) -> list[Section]:
    """Sort frames by the worst spot in each."""
    return sorted(found, key=lambda each: -each.risk)


def is_page(data: bytes) -> bool:
    """Tell whether a file's content is a review, so that it may be replaced by a newer one."""
    return _TITLE.encode() in data[:1000]


def _whole(key: str, record: Record, ordered: Sequence[Spot], exhibit: Exhibit, shown: set[int]) -> str:
    """Show the frame, its spots ringed: a full ring where something was corrected, a broken one where not."""
    orientation = record.camera.orientation
    width, height = record.width, record.height
    marks = []
    for spot in ordered:
        x, y = upright(spot.x, spot.y, width=width, height=height, orientation=orientation)
        radius = max(spot.diameter_px, 0.012 * max(width, height))
        kind = "kept" if spot.action == "left" else "done"
        words = f"<title>{spot.id}: {_ACTIONS[spot.action]}</title>"
        ring = f'<circle class="{kind}" cx="{x:.0f}" cy="{y:.0f}" r="{radius:.0f}">{words}</circle>'
        marks.append(f'<a href="#{key}-{spot.id}">{ring}</a>' if spot.id in shown else ring)
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return (
        f'<figure><div class="whole"><img alt="The corrected frame" width="{width}" height="{height}" '
        f'src="{_uri(exhibit.overview)}">'
        f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="Where the spots are">{"".join(marks)}</svg>'
        "</div>"
        "<figcaption>Full rings were corrected, broken ones left alone.</figcaption></figure>"
    )


def _card(key: str, spot: Spot, pair: Pair, cleaned: str) -> str:
    """Show one spot: the pictures, what was done, why, and how to undo it."""
    style = f"--b: {0.5 / max(pair.tone, 0.02):.2f}; --c: {pair.contrast:.1f}"
    pictures = "".join(
        f'<figure><img style="{style}" width="{CROP_PX}" height="{CROP_PX}" alt="Spot {spot.id} {name}"'
        f' src="{_uri(data)}"><figcaption>{name}</figcaption></figure>'
        for name, data in (("before", pair.before), ("after", pair.after))
    )
    return (
        f'<li class="spot" id="{key}-{spot.id}"><div class="pair">{pictures}</div>'
        f"<h3>{spot.id}: {_ACTIONS[spot.action]}</h3>"
        f'<p>{_text(spot.reason)}.</p><p class="soft">{_text(_figures(spot))}; shown at {pair.zoom_percent}%.</p>'
        f"{_command(spot, cleaned)}</li>"
    )


def _table(rest: Sequence[Spot], cleaned: str) -> str:
    """List the spots that are not pictured."""
    if not rest:
        return ""
    rows = "".join(
        f"<tr><td>{spot.id}</td><td>{_ACTIONS[spot.action]}</td><td>{_text(spot.reason)}</td>"
        f"<td>{_command(spot, cleaned)}</td></tr>"
        for spot in rest
    )
    corrected = sum(spot.action != "left" for spot in rest)
    told = f"{len(rest)} more without a picture, {corrected} of them corrected"
    return f"<details><summary>{told}</summary><table>{rows}</table></details>"


def _command(spot: Spot, cleaned: str) -> str:
    """Say what to type to take a correction back, or to take that back."""
    if spot.rejected:
        command = f"dustd reject --undo {_quoted(cleaned)} {spot.id}"
    elif spot.action != "left":
        command = f"dustd reject {_quoted(cleaned)} {spot.id}"
    else:
        return ""
    return f'<code tabindex="0">{_text(command)}</code>'


def _quoted(name: str) -> str:
    """Quote a path for a shell; one that begins with a dash would be taken for an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _about(record: Record) -> str:
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
    wanted = sum(spot.action == "left" and spot.wanted for spot in record.spots)
    counts = f"{corrected} corrected, {len(record.spots) - corrected} left alone"
    counts += f" ({wanted} because it could not be done well)" if wanted else ""
    return " · ".join(filter(None, (*facts, counts if record.spots else None)))


def _figures(spot: Spot) -> str:
    """Put a spot's figures into words."""
    size = f"{spot.diameter_px:.0f} px wide, takes {spot.attenuation:.0%} of the light; score {spot.score:.0%}"
    return size if spot.confidence is None else f"{size}, on the map with {spot.confidence:.0%}"


def _name(each: Section) -> str:
    found = _NAME.search(each.text)
    return found[1] if found else each.key


def _text(text: str) -> str:
    """Escape text for content and attributes alike; what is not Unicode becomes \\udcxx."""
    return html.escape(text.encode(errors="backslashreplace").decode(), quote=True)


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
