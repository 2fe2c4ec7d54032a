"""`dustd report`: how dusty the sensors are, in words, JSON or HTML."""

import argparse

from dustd import codec
from dustd.cli.common import FINE, find_body, open_store, publish, settings_of
from dustd.errors import UsageError
from dustd.report import crops, report, report_page, report_text


def run(args: argparse.Namespace) -> int:
    """Say how dusty the sensors are, in words, JSON or HTML."""
    if args.html and args.html.suffix.lower() not in (".html", ".htm"):
        raise UsageError("the page's name must end in .html", remedy="Name another file", path=args.html)
    settings = settings_of(args)
    with open_store(args) as store:
        found = [store.body(find_body(store, args.body))] if args.body else store.bodies()
    maps = [each for each in found if each is not None]
    summaries = report.ranked(maps, settings.report)
    if args.html:
        cut = crops.cut(summaries, args.frames or [folder.path for folder in settings.folders])
        publish(args.html, report_page.html_report(summaries, cut).encode(), ours=report_page.is_page)
    if args.json:
        print(codec.to_bytes([report.to_dict(each) for each in summaries], indent=2).decode(), end="")
    elif not args.html:
        print(report_text.text_report(summaries), end="")
    return FINE
