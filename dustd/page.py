"""The report as one self-contained HTML page: per body a picture of the sensor and the report's text.

Values in, text out; what the report says is `dustd.report`'s.
"""

import base64
import html
from collections.abc import Sequence

import cv2

from dustd.particle import DustMap
from dustd.report import sensor_picture, text_report

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>dustd: sensor dust</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
img { max-width: 100%; border: 1px solid #999 }
pre { overflow-x: auto; line-height: 1.25 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } }
</style></head><body>
<h1>Sensor dust</h1>
"""


def html_report(maps: Sequence[DustMap]) -> str:
    """Write the report as a page that needs no other file; the pictures show the sensors at f/16."""
    return _HEAD + ("\n".join(map(_section, maps)) or f"<p>{html.escape(text_report(()))}</p>") + "\n</body></html>\n"


def _section(dust: DustMap) -> str:
    _, png = cv2.imencode(".png", sensor_picture(dust.particles, dust.width, dust.height))
    picture = base64.b64encode(png).decode("ascii")
    name = html.escape(dust.body_id)
    return (
        f"<h2>{name}</h2>\n"
        f'<p><img alt="The dust of {name} as an even grey frame at f/16 would show it" '
        f'src="data:image/png;base64,{picture}"></p>\n'
        f"<pre>{html.escape(text_report([dust]))}</pre>"
    )
