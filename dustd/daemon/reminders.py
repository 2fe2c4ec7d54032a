"""Reminders: tell somebody, once, that a sensor wants cleaning.

`decide` is the whole rule, a pure function: a reminder is due when a body's advice becomes more urgent than what was
last told of it. A cleaning makes a fresh start, and so does dust that has clearly gone; a figure that wavers around its
limit does neither. Around it, `Reminders` looks at the maps between frames and hands what is due to a command or a
webhook in the background. What was told is kept in a small file, written after it was delivered, so a crash may repeat
a reminder but never loses one. Nothing here stops or delays the cleaning of frames.
"""

import hashlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from dustd import codec, files
from dustd.config import AdviceRules
from dustd.daemon.reminder_channels import Channel, Facts
from dustd.dustmap.particle import DustMap
from dustd.errors import DustdError
from dustd.report.advice import Advice, advise, figures
from dustd.text import printable

log = structlog.get_logger()

LOOK_S = 60.0  # a body's map is looked at this often at most; loading one takes milliseconds
RETRY_S = 900.0  # after a reminder could not be delivered: a laptop on location is offline for a while
CLOSING_LIMIT_S = 5.0  # what is on its way when the daemon stops may take this long
SLACK = 0.8  # our choice: dust has clearly gone when not even a fifth lower limits are reached
NAMED = 3  # bodies named in the status line, per advice
_LEVELS: dict[Advice, int] = {"clean soon": 1, "clean now": 2}


SCHEMA, SCHEMA_VERSION = "dustd.reminders", "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The advice that was last told of a body, and the cleaning (None: none) after which it was told."""

    advice: Advice
    cleaned_at: str | None


class Maps(Protocol):
    """Where maps come from; `dustd.dustmap.store.Store` in earnest."""

    def body_ids(self) -> Sequence[str]:
        """Name all bodies."""

    def body(self, body_id: str) -> DustMap | None:
        """Give one."""


def decide(told: Told | None, advice: Advice, relaxed: Advice, cleaned_at: str | None) -> tuple[Told | None, bool]:
    """Say what is to be remembered as told, and whether to tell it now.

    *relaxed* is the advice under limits lowered by SLACK; *cleaned_at* the latest cleaning.
    """
    gone = advice not in _LEVELS and relaxed not in _LEVELS
    if told and (told.cleaned_at != cleaned_at or gone):
        told = None
    if _LEVELS.get(advice, 0) > (_LEVELS[told.advice] if told else 0):
        return Told(advice=advice, cleaned_at=cleaned_at), True
    return told, False


def facts_of(dust: DustMap, advice: Advice, why: str) -> Facts:
    """Gather what command and webhook are told; *text* says it in one sentence."""
    return {
        "event": "sensor_needs_cleaning",
        "text": f"{printable(dust.body_id)}: {advice}. {why}",
        "body_id": dust.body_id,
        "make": dust.make,
        "model": dust.model,
        "advice": advice,
        "why": why,
        **codec.DEFAULT.plain(figures(dust)),
        "last_cleaned_at": dust.cleanings[-1] if dust.cleanings else None,
        "last_frame_at": dust.last_frame_at,
    }


class Reminders:
    """Looks at maps between frames and reminds where it is due. One thread uses it; *clock* is monotonic seconds.

    *channels* are the ways out, named after their keys in the configuration.
    """

    def __init__(
        self,
        maps: Maps,
        rules: AdviceRules,
        channels: Mapping[str, Channel],
        state_file: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maps, self._rules, self._state_file, self._clock = maps, rules, state_file, clock
        self._channels = channels
        self._told, self._on_disk = _read(state_file)
        self._advice: dict[str, Advice] = {}
        self._due: dict[str, float] = {}
        self._ask_at = 0.0  # which bodies there are; the maps may be away when dustd starts
        self._looked: dict[str, float] = {}
        self._unsent: dict[str, tuple[Told, dict[str, Channel]]] = {}  # what is due, and the ways it still has to go
        self._results: queue.SimpleQueue[tuple[str, Told, dict[str, Exception]]] = queue.SimpleQueue()
        self._sending: threading.Thread | None = None

    def seen(self, body_id: str) -> None:
        """Note that a body's map has changed."""
        if body_id not in self._unsent:  # its time to try again is set
            self._due[body_id] = self._looked.get(body_id, -LOOK_S) + LOOK_S

    def turn(self) -> str:
        """Do what is due, quickly; return what the status line should say of bodies that want cleaning."""
        try:
            self._collect()
            self._ask()
            if self._sending is None:
                self._look_at_one()
        except DustdError as error:
            log.warning("reminders_wait", problem=error.problem, remedy=error.remedy)
        except Exception:  # frames go first: no error in here may end the daemon
            log.exception("reminders_crashed")
        return self._words()

    def close(self) -> None:
        """Give what is on its way a moment to arrive."""
        if self._sending:
            self._sending.join(CLOSING_LIMIT_S)
            self.turn()

    def _ask(self) -> None:
        """Ask once which bodies there are."""
        if self._ask_at <= self._clock():
            self._ask_at = self._clock() + LOOK_S
            self._due = dict.fromkeys(self._maps.body_ids(), 0.0) | self._due
            self._ask_at = math.inf

    def _look_at_one(self) -> None:
        """Look at the body that has been due for longest, if any."""
        now = self._clock()
        body_id = min(self._due, key=self._due.__getitem__, default=None)
        if body_id is None or self._due[body_id] > now:
            return
        self._looked[body_id], self._due[body_id] = now, now + LOOK_S
        dust = self._maps.body(body_id)
        if dust is None:
            self._forget(body_id)
            return
        of = figures(dust)
        advice, why = advise(of, dust, self._rules)
        relaxed, _ = advise(of, dust, self._rules, slack=SLACK)
        old = self._told.get(body_id)
        told, due = decide(old, advice, relaxed, dust.cleanings[-1] if dust.cleanings else None)
        if advice in _LEVELS:
            self._advice[body_id] = advice
        else:  # looked at again when it has a new frame; the others are also watched for a cleaning
            self._advice.pop(body_id, None)
            del self._due[body_id]
        if due and told:
            self._remind(dust, told, why)
            return
        self._unsent.pop(body_id, None)
        if told != old:
            self._remember(body_id, told)

    def _remind(self, dust: DustMap, told: Told, why: str) -> None:
        waiting_for, unsent = self._unsent.get(dust.body_id, (None, {}))
        if waiting_for != told:
            log.warning("sensor_needs_cleaning", body=dust.body_id, advice=told.advice, why=why)
            unsent = dict(self._channels)
            self._unsent[dust.body_id] = told, unsent
        facts = facts_of(dust, told.advice, why)

        def send() -> None:
            failed: dict[str, Exception] = {}
            for name, channel in unsent.items():
                try:
                    channel(facts)
                except Exception as exc:  # noqa: BLE001 - told by the other thread
                    failed[name] = exc
            self._results.put((dust.body_id, told, failed))

        self._sending = threading.Thread(target=send, name="dustd-reminder", daemon=True)
        self._sending.start()

    def _collect(self) -> None:
        """Take note of what has been delivered and what has not."""
        if self._sending is None or self._results.empty():
            return
        self._sending = None
        body_id, told, failed = self._results.get()
        for name, problem in failed.items():
            remedy = f"Correct reminders.{name}; dustd tries again in {RETRY_S / 60:.0f} minutes"
            log.error("reminder_failed", body=body_id, by=name, problem=str(problem), remedy=remedy)
        if failed:
            self._unsent[body_id] = told, {name: self._channels[name] for name in failed}
            self._due[body_id] = self._clock() + RETRY_S
        else:
            del self._unsent[body_id]
            if self._channels:
                log.info("reminder_sent", body=body_id, advice=told.advice, by=list(self._channels))
            self._remember(body_id, told)

    def _forget(self, body_id: str) -> None:
        del self._due[body_id]
        self._advice.pop(body_id, None)
        self._unsent.pop(body_id, None)
        if body_id in self._told:
            self._remember(body_id, None)

    def _remember(self, body_id: str, told: Told | None) -> None:
        self._told = {key: value for key, value in {**self._told, body_id: told}.items() if value}
        data = _encode(self._told)
        files.publish(self._state_file, data, ours=self._on_disk)
        self._on_disk = {hashlib.sha256(data).hexdigest()}

    def _words(self) -> str:
        parts = []
        for advice in sorted(_LEVELS, key=_LEVELS.__getitem__, reverse=True):
            names = sorted(printable(body_id) for body_id, each in self._advice.items() if each == advice)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            parts += [f"{advice}: {', '.join(names[:NAMED])}{more}"] if names else []
        return "; ".join(parts)


def _read(path: Path) -> tuple[dict[str, Told], set[str]]:
    """Read what was told, and the file's SHA-256 so that it may be replaced; a broken file counts as empty."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}, set()
    ours = {hashlib.sha256(data).hexdigest()}
    try:
        told = codec.DEFAULT.read(dict[str, Told], codec.require(codec.parse(data), SCHEMA, SCHEMA_VERSION)["told"])
    except (ValueError, KeyError):
        log.warning("reminders_unreadable", path=str(path), remedy="Nothing to do; reminders may come once more")
        return {}, ours
    return {body_id: each for body_id, each in told.items() if each.advice in _LEVELS}, ours


def _encode(told: dict[str, Told]) -> bytes:
    entries = codec.DEFAULT.plain(dict(sorted(told.items())))
    return codec.to_bytes({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "told": entries}, indent=2)
