"""What happens is said in plain words, with the right plurals and units."""

import ast
from pathlib import Path

import pytest

import dustd
from dustd.log_words import WORDS, sentence

FRAME = {"frame": "a.CR3", "total_ms": 1234.0}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "frame_cleaned", **FRAME, "spots": 1, "corrected": 1}, "a.CR3: 1 spot corrected, 1.2 s."),
        ({"event": "frame_clean", **FRAME, "spots": 0, "corrected": 0}, "a.CR3: no dust found, 1.2 s."),
        (
            {"event": "frame_clean", **FRAME, "spots": 2, "corrected": 0},
            "a.CR3: nothing corrected, 2 left alone, 1.2 s.",
        ),
        (
            {"event": "frame_failed", "path": "/in/b.CR3", "problem": "it is cut short", "remedy": "Copy it again"},
            "b.CR3: FAILED: it is cut short. Copy it again.",
        ),
        (
            {"event": "folder_watched", "folder": "/in", "output": "/in/Cleaned", "events": True},
            "Watching /in; cleaned files go into /in/Cleaned.",
        ),
        (
            {"event": "model_ready", "model": "dust-small", "preview": False, "device": "cpu (openvino)"},
            "Model dust-small, on cpu (openvino).",
        ),
        (
            {"event": "maps_wait", "problem": "the disk is full", "remedy": "free some space"},
            "Maps wait: the disk is full. Free some space.",
        ),
        ({"event": "frame_cleaned", "frame": "a.CR3"}, "Frame cleaned: a.CR3."),  # lacks what its words expect
        (
            {"event": "sensor_needs_cleaning", "body": "Z 8 #1", "advice": "clean now", "why": "22 particles show"},
            "Z 8 #1: clean now. 22 particles show.",
        ),
        ({"event": "maps_learnt_again", "frames": 1}, "The dust maps were learnt again from 1 frame."),
        ({"event": "stopped"}, "Stopped."),
    ],
)
def test_an_event_is_one_plain_sentence(event, said):
    assert sentence(event) == said


def test_details_are_added_for_who_asks():
    said = sentence({"event": "paused", "folder": "/in", "problem": "away", "retry_s": 8.0}, detailed=True)
    assert said.startswith("/in waits: away. Next try in 8 s.") and "retry_s=8.0" in said


def test_names_cannot_steer_the_terminal():
    assert "\x1b" not in sentence({"event": "frame_vanished", "path": "/in/\x1b[31m.CR3"})


def test_every_event_with_words_of_its_own_is_logged_somewhere():
    logged = set()
    for path in Path(dustd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and path.name != "log_words.py":
                logged.add(node.value)
    # "frame_" + status is put together from its parts.
    assert set(WORDS) - {"frame_cleaned", "frame_clean"} <= logged
