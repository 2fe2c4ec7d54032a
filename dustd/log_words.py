"""What is logged, in plain words for a person at a terminal: one line an event.

Programs read the events themselves (`dustd.log`); here each one's data become a sentence. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dustd.text import counted, printable, spots_changed

Event = Mapping[str, Any]

# Left out where nobody asks for details: what follows says it all.
QUIET = frozenset({"frame_ready", "frame_held_back"})
_NOT_DATA = frozenset({"event", "level", "timestamp", "exception", "stack", "frame", "body"})


def sentence(event: Event, *, detailed: bool = False) -> str:
    """Say *event*; *detailed* adds its data. One line, and below it the traceback if there is one."""
    name = event["event"]
    say = WORDS.get(name, _plainly)
    try:
        said = say(event)
    except (KeyError, TypeError, ValueError):  # an event with other data than its words expect is said all the same
        said = _plainly(event)
    data = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in _NOT_DATA)
    lines = [printable(said) + (f"  [{name} {printable(data)}]" if detailed else "")]
    return "\n".join([*lines, event["exception"]] if "exception" in event else lines)


def _plainly(event: Event) -> str:
    """Say an event that has no words of its own: its name, what it is about, problem and remedy."""
    about = next((str(event[key]) for key in ("path", "folder", "frame", "body") if event.get(key)), "")
    problem = event.get("problem") or event.get("message") or ""
    remedy = event.get("remedy") or ""
    name = event["event"].replace("_", " ")
    said = ": ".join(filter(None, (name[:1].upper() + name[1:], about, str(problem))))
    return _ended(said) + (f" {_ended(remedy[:1].upper() + remedy[1:])}" if remedy else "")


def _ended(text: str) -> str:
    return text if text.endswith((".", "…", "?", "!")) else f"{text}."


def _cleaned(event: Event) -> str:
    spots, corrected = event["spots"], event["corrected"]
    left = spots - corrected
    seconds = event["total_ms"] / 1000
    told = f"{counted(corrected, 'spot')} corrected" if corrected else "nothing corrected" if left else "no dust found"
    return f"{event['frame']}: {told}{f', {left} left alone' if left else ''}, {seconds:.1f} s."


def _name(event: Event) -> str:
    return str(event.get("path") or event["frame"]).rpartition("/")[2]


def _failed(event: Event) -> str:
    return f"{_name(event)}: FAILED: {event['problem']}. {_ended(event['remedy'])}"


def _watched(event: Event) -> str:
    how = "" if event["events"] else "; it tells of no changes and is searched every few seconds"
    return f"Watching {event['folder']}; cleaned files go into {event['output']}{how}."


def _missing(event: Event) -> str:
    return f"{event['folder']} is not there: {_ended(event['remedy'])}"


def _paused(event: Event) -> str:
    return f"{event['folder']} waits: {_ended(event['problem'])} Next try in {event['retry_s']:.0f} s."


def _model(event: Event) -> str:
    preview = ", a preview that misses dust" if event["preview"] else ""
    return f"Model {event['model']}{preview}, on {event['device']}."


def _always(text: str) -> Callable[[Event], str]:
    return lambda _event: text


WORDS: Mapping[str, Callable[[Event], str]] = {
    "starting": _always("Loading the model …"),
    "model_ready": _model,
    "ready": _always("Ready. Ctrl-C stops when the frame in hand is done."),
    "stopped": _always("Stopped."),
    "folder_watched": _watched,
    "folder_missing": _missing,
    "review_page": lambda event: f"Every spot before and after: {event['path']}",
    "page_served": lambda event: f"The session page: {event['address']} (dustd open)",
    "command_done": lambda event: f"From the session page: {_ended(event['said'])}",
    "metrics_served": lambda event: f"Figures for Prometheus: {event['address']}",
    "frame_cleaned": _cleaned,
    "frame_clean": _cleaned,
    "frame_improved": lambda event: f"{_name(event)}: improved: {spots_changed(event['more'], event['fewer'])}.",
    "changed_output_left_alone": lambda event: f"{_name(event)}: left as it is: {_ended(event['problem'])}",
    "frame_left_as_it_is": lambda event: f"{_name(event)}: left as it is: {_ended(event['problem'])}",
    "revisits_wait": lambda event: f"Deciding anew waits: {_ended(event['problem'])}",
    "frame_failed": _failed,
    "frame_vanished": lambda event: f"{_name(event)}: gone before it was cleaned (moved, renamed or deleted).",
    "own_output_left_alone": lambda event: f"{_name(event)}: a cleaned file that dustd made; left alone.",
    "outputs_set_aside": lambda event: f"{_name(event)}: what was cleaned is kept; another has its name now.",
    "output_kept": lambda event: f"{_name(event)}: no longer needed, but kept: {_ended(event['problem'])}",
    "folder_link_left_out": lambda event: f"{event['path']} is a link to a folder; left out: {_ended(event['remedy'])}",
    "paused": _paused,
    "resumed": lambda event: f"{event['folder']} goes on.",
    "library_message": lambda event: f"{event['library']} says: {event['message']}",
    "sensor_needs_cleaning": lambda event: f"{event['body']}: {event['advice']}. {_ended(event['why'])}",
    "restart_needed": lambda event: f"{' and '.join(event['keys'])} changed: {_ended(event['remedy'])}",
    "maps_learnt_again": lambda event: f"The dust maps were learnt again from {counted(event['frames'], 'frame')}.",
    "worker_ended": lambda event: f"The process that decodes has ended ({event['how']}); another takes its place.",
    "configuration_changed": lambda event: f"The configuration has changed: {', '.join(event['keys'])}.",
}
