"""What is written about dustd is true of it."""

import argparse
import configparser
import re
import shlex
from pathlib import Path

import pytest

from dustd.cli import common, main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
MAN_PAGE = ROOT / "docs" / "dustd.1"
UNITS = sorted((ROOT / "systemd").glob("*.service"))
# design §9; init, reject, status, service, retry, export and import are ours
VERBS = [
    "init",
    "run",
    "clean",
    "reject",
    "map",
    "report",
    "check",
    "demo",
    "status",
    "service",
    "retry",
    "completion",
    "train",
    "evaluate",
]
SERVICE_VERBS = ["install", "uninstall", "status"]
MAP_VERBS = ["list", "show", "cleaned", "forget", "rebuild", "export", "import"]


def parsers(parser=None, name=""):
    """Give every verb's (words, parser, help)."""
    for action in (parser or main.build_parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for verb, sub in action.choices.items():
                words = f"{name} {verb}".strip()
                yield words, sub, helps.get(verb)
                yield from parsers(sub, words)


def test_the_verbs_are_those_of_the_design():
    assert [words for words, *_ in parsers()] == [
        *VERBS[:5],
        *(f"map {verb}" for verb in MAP_VERBS),
        *VERBS[5:10],
        *(f"service {verb}" for verb in SERVICE_VERBS),
        *VERBS[10:],
    ]


@pytest.mark.parametrize(("words", "parser", "text"), [pytest.param(*each, id=each[0]) for each in parsers()])
def test_every_verb_and_every_option_has_help(words, parser, text):
    assert text and parser.description
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
    assert parser.format_help().startswith(f"usage: dustd {words}")


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
@pytest.mark.parametrize("words", [words for words, *_ in parsers()])
def test_every_verb_is_in_the_readme(words):
    assert f"dustd {words}" in README.read_text(encoding="utf-8")


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_the_readme_names_no_verb_that_is_not_there():
    for line in re.findall(r"^\s*(?:\$ )?dustd ([a-z]+)", README.read_text(encoding="utf-8"), re.MULTILINE):
        assert line in VERBS


@pytest.mark.skipif(not UNITS, reason="there is no unit file yet")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_unit_file_starts_a_command_that_exists(path):
    unit = configparser.ConfigParser(strict=False, interpolation=None, inline_comment_prefixes=None)
    unit.optionxform = str
    unit.read_string(path.read_text(encoding="utf-8"))
    command = shlex.split(unit["Service"]["ExecStart"])
    assert Path(command[0]).name == "dustd"
    assert main.build_parser().parse_args(command[1:])
    assert unit["Service"]["RestartPreventExitStatus"].split()[0] == str(common.CONFIG)


def plain(text):
    """Take the man page's dressing off."""
    return re.sub(r"\\f[A-Z]|\\,|\\/|\\&", "", text).replace("\\-", "-").replace("\\e", "\\")


@pytest.mark.parametrize(("words", "parser", "text"), [pytest.param(*each, id=each[0]) for each in parsers()])
def test_the_man_page_says_of_a_verb_what_its_help_says(words, parser, text):
    page = plain(MAN_PAGE.read_text(encoding="utf-8"))
    (section,) = re.findall(rf"^\.SS dustd {words}\n(.*?)(?=^\.S[SH]|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section.startswith(text)
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            assert action.help in section, "make man"
            assert all(option in section for option in action.option_strings), "make man"


def test_the_man_page_has_no_verb_that_is_not_there():
    verbs = re.findall(r"^\.SS dustd (.*)$", plain(MAN_PAGE.read_text(encoding="utf-8")), re.MULTILINE)
    assert verbs == [words for words, *_ in parsers()]
