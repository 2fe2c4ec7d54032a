"""What the page shows of bodies: their report (`dustd.report`), laid out as the API's JSON. Values in, values out."""

from collections.abc import Mapping

from dustd.codec import Json
from dustd.report.advice import Advice
from dustd.report.report import ranked
from dustd.web.messages import Bodies
from dustd.web.rows import key_of

_ADVICE: Mapping[Advice, str] = {
    "clean now": "now",
    "clean soon": "soon",
    "not known yet": "none",
    "not needed": "none",
}


def body_lines(news: Bodies) -> list[Json]:
    """Name the bodies with their advice, those that need the swab most first."""
    summaries = ranked((each.dust for each in news.bodies), news.rules)
    return [{"id": key_of(each.dust.body_id), "name": each.name, "advice": _ADVICE[each.advice]} for each in summaries]
