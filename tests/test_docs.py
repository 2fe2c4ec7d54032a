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
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
# design §9; init, reject, correct, status, service, retry, export and import are ours
VERBS = [
    "init",
    "run",
    "open",
    "clean",
    "reject",
    "correct",
    "map",
    "report",
    "check",
    "demo",
    "status",
    "orphans",
    "service",
    "retry",
    "completion",
    "train",
    "evaluate",
]
SERVICE_VERBS = ["install", "uninstall", "status"]
MAP_VERBS = ["list", "show", "cleaned", "forget", "rebuild", "repair", "export", "import"]


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
        *VERBS[:7],
        *(f"map {verb}" for verb in MAP_VERBS),
        *VERBS[7:13],
        *(f"service {verb}" for verb in SERVICE_VERBS),
        *VERBS[13:],
    ]


@pytest.mark.parametrize(("words", "parser", "text"), [pytest.param(*each, id=each[0]) for each in parsers()])
def test_every_verb_and_every_option_has_help(words, parser, text):
    assert text and parser.description
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
    assert parser.format_help().startswith(f"usage: dustd {words}")


@pytest.mark.parametrize("words", [words for words, *_ in parsers()])
def test_every_verb_is_in_the_list_of_commands(words):
    assert f"dustd {words}" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 180


def commands_in(text):
    """Give every command that a page names, as words: lines of blocks of code up to a #, and code within lines."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition(" # ")[0] for block in blocks for line in block.splitlines()]
    for line in lines + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
        found = re.match(r"(?:\S*/)?dustd (?=[a-z])(.*)", line.strip())
        if found:
            yield found[1].split()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_that_a_page_names_exists_with_its_options(page):
    known = {words: parser for words, parser, _ in parsers()}
    for words in commands_in(page.read_text(encoding="utf-8")):
        verb = next((verb for verb in (" ".join(words[:2]), words[0]) if verb in known), None)
        assert verb, words
        options = [option for action in known[verb]._actions for option in action.option_strings]
        assert [word for word in words if word.startswith("-") and word.partition("=")[0] not in options] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


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
