"""Folding frames into kept maps: where a frame enters its body's line, what is folded anew, which states are kept.

What the latest frames brought is kept, and states of the map between them to fold anew from; the line itself is
`dustd.dustmap.history`'s. Every function works inside a transaction of `dustd.dustmap.store`.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from dustd.dustmap import history, mapjson, places, rejection
from dustd.dustmap.history import Counted, Step
from dustd.dustmap.match import State
from dustd.dustmap.places import BEGINNING
from dustd.dustmap.queries import (
    STRIDE,
    Latest,
    epoch_at,
    exists,
    inputs_after,
    insert_new,
    last_state,
    lock_body,
    rows_of,
    settled_place,
    some_at_a_time,
    spans_of,
    state_at,
    verdicts_of,
    whole,
    within,
)
from dustd.dustmap.rejection import rejections_of, same_place
from dustd.dustmap.schema import (
    bodies,
    cleaned,
    dismissed,
    epochs,
    frames,
    rejections,
    scenes,
    states,
)
from dustd.output.sidecar import Record

KEPT = 192  # frames of a body that can at least be folded anew: a morning's work, some 7 kB each
NEAR = 4  # latest frames whose states are kept as well, because frames overtake each other on their way
BODIES_REMEMBERED = 8  # whose current maps stay in memory, a few MB each


def walk(db: sa.Connection, body_id: str, start: Step, line: Iterable[Step]) -> Step:
    """Write down what is folded on from *start*, which is kept: the last state of each epoch and one in every STRIDE.

    Returns the last step, which is written as well unless a cleaning was noticed there.
    """
    step = start
    for following in line:
        if following.epoch != step.epoch and step is not start and not is_kept(step):
            write_state(db, body_id, step)
        step = following
        write_observed(db, body_id, step)
        if step.state.cleaning.noticed_at is not None:
            return step
        if is_kept(step):
            write_state(db, body_id, step)
    if step is not start and not is_kept(step):
        write_state(db, body_id, step)
    return step


def is_kept(step: Step) -> bool:
    """Tell whether the state after a step stays when the next frames come."""
    return step.place == step.epoch or step.n % STRIDE == 0


def write_state(db: sa.Connection, body_id: str, step: Step) -> None:
    """Keep the state after a step."""
    row = {"body_id": body_id, "place": step.place, "epoch": step.epoch, "n": step.n}
    data = {"state": mapjson.encode(step.state), "scenes": sorted(mapjson.scenes(step.state))}
    db.execute(states.insert(), {**row, **data})


def write_observed(db: sa.Connection, body_id: str, step: Step) -> None:
    """Note what a frame said about the particles; a cleaning says nothing."""
    if step.place != step.epoch:
        here = frames.update().where(frames.c.body_id == body_id, frames.c.place == step.place)
        db.execute(here.values(observed={"seen": step.seen, "missed": step.missed}))


def thin(db: sa.Connection, body_id: str, n: int) -> None:
    """Let go of the states up to the *n*-th frame that are none to keep."""
    here = states.c.body_id == body_id
    ends = sa.select(sa.func.max(states.c.place)).where(here).group_by(states.c.epoch)
    passing = (states.c.n <= n, states.c.n % STRIDE != 0, states.c.place != states.c.epoch, states.c.place.not_in(ends))
    horizon = sa.select(bodies.c.horizon).where(bodies.c.body_id == body_id).scalar_subquery()
    db.execute(states.delete().where(here, *passing, states.c.place > horizon))


def prune(db: sa.Connection, body_id: str, n: int) -> None:
    """Let go of what is needed only to fold anew the frames up to the *n*-th of the line."""
    here = states.c.body_id == body_id
    query = sa.select(sa.func.max(states.c.place)).where(here, states.c.n <= n)
    horizon = db.execute(query).scalar()
    if horizon is None:
        return
    ends = sa.select(sa.func.max(states.c.place)).where(here).group_by(states.c.epoch)
    db.execute(states.delete().where(here, states.c.place < horizon, states.c.place.not_in(ends)))
    db.execute(frames.update().where(frames.c.body_id == body_id, frames.c.place <= horizon).values(input=None))
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(horizon=horizon))
    needed = {frame_id for row in db.scalars(sa.select(states.c.scenes).where(here)) for frame_id in row}
    needed.update(db.scalars(sa.select(frames.c.frame_id).where(frames.c.body_id == body_id, frames.c.place > horizon)))
    kept = db.scalars(sa.select(scenes.c.frame_id).where(scenes.c.body_id == body_id)).all()
    for unneeded in some_at_a_time(frame_id for frame_id in kept if frame_id not in needed):
        db.execute(scenes.delete().where(scenes.c.body_id == body_id, scenes.c.frame_id.in_(unneeded)))


def enter(db: sa.Connection, record: Record, place: str | None = None) -> Counted | None:
    """Put a frame on its body's line; None if it is there already or is of no use to the map.

    *place* is where; None: where its clocks say.
    """
    frame = history.counted(record)
    if frame is None:
        return None
    body_id, frame_id = record.camera.body_id, frame.view.frame_id
    body = lock_body(db, body_id) or begin(db, record)
    note_cleaned(db, record)
    if exists(db, frames, body_id, frames.c.frame_id == frame_id):
        return None
    frame = dataclasses.replace(frame, place=place or settled_place(db, body_id, places.reading_of(record)))
    size = {"width": max(body.width, record.width), "height": max(body.height, record.height)}
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(**size))
    if frame.place <= body.horizon:
        frame = too_late(db, body, frame)
    row: dict[str, Any] = {
        "body_id": body_id,
        "frame_id": frame_id,
        "place": frame.place,
        "name": record.source.name.encode(errors="backslashreplace").decode(),
        "taken_at": record.camera.taken_at,
        "f_number": record.camera.f_number,
        "observed": {"seen": {}, "missed": {}},
        "input": history.to_dict(frame) if frame.place > body.horizon else None,
    }
    db.execute(frames.insert(), row)
    seen = {key: (record.evidence or {})[key] for key in ("width", "height", "scene", "limits")}  # packed already
    insert_new(db, scenes, {"body_id": body_id, "frame_id": frame_id, "evidence": seen})
    return frame


def note_cleaned(db: sa.Connection, record: Record) -> None:
    """Remember the samples of a known frame's cleaned file, where they are not the frame's own."""
    for output in record.outputs:
        if output.samples not in (None, (record.evidence or {}).get("frame_id")):
            insert_new(db, cleaned, {"body_id": record.camera.body_id, "frame_id": output.samples})


def begin(db: sa.Connection, record: Record) -> Any:
    """Make room for a new body; whoever is first makes it."""
    body_id, camera = record.camera.body_id, record.camera
    size = {"width": record.width, "height": record.height, "horizon": BEGINNING, "revision": 0}
    if insert_new(db, bodies, {"body_id": body_id, "make": camera.make, "model": camera.model, **size}):
        db.execute(epochs.insert(), {"body_id": body_id, "place": BEGINNING, "how": "first"})
        write_state(db, body_id, Step(place=BEGINNING, epoch=BEGINNING, n=0, state=State()))
    return lock_body(db, body_id)


def begin_again(db: sa.Connection, body_id: str) -> None:
    """Forget the frames of a body and what was learnt from them, but not what a person said."""
    if lock_body(db, body_id) is None:
        return
    for table in (states, frames, scenes, rejections):
        db.execute(table.delete().where(table.c.body_id == body_id))
    db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.how == "noticed"))
    for epoch in rows_of(db, epochs, body_id, epochs.c.how == "declared"):
        here = epochs.update().where(epochs.c.body_id == body_id, epochs.c.place == epoch.place)
        db.execute(here.values(place=places.cleaning_place(epoch.started_at)))
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(horizon=BEGINNING, width=0, height=0))
    write_state(db, body_id, Step(place=BEGINNING, epoch=BEGINNING, n=0, state=State()))


def take_in_words(db: sa.Connection, record: Record, *, take_back: bool) -> list[str]:
    """Take in what a person said of a frame: the rejected spots and those asked for; with *take_back* no others.

    Returns the places from which to fold anew, none if nothing has changed or the frame is not on the line.
    """
    changed = (each(db, record, take_back=take_back) for each in (_judge_frame, _count_asked))
    return [place for place in changed if place is not None]


def _judge_frame(db: sa.Connection, record: Record, *, take_back: bool) -> str | None:
    """Write a frame's verdicts down, with *take_back* instead of those written before.

    Returns the place from which to fold anew, None if nothing has changed or the frame is not on the line.
    """
    counted = history.counted(record)
    if counted is None:
        return None
    body_id, frame_id = record.camera.body_id, counted.view.frame_id
    written = {row.number: row for row in rows_of(db, rejections, body_id, rejections.c.frame_id == frame_id)}
    given = rejections_of(record.spots, counted.view, record.source.name)
    if not given and not (take_back and written):
        return None
    place = db.scalars(
        sa.select(frames.c.place).where(frames.c.body_id == body_id, frames.c.frame_id == frame_id)
    ).one_or_none()
    if place is None:
        return None
    with whole():
        old = {number: rejection.from_dict(row.told) for number, row in written.items()}
    new = [each for each in given if not any(same_place(each, other) for other in old.values())]
    gone = [number for number, other in old.items() if not any(same_place(other, each) for each in given)]
    horizon = lock_body(db, body_id).horizon
    if place <= horizon and epoch_at(db, body_id, place) == epoch_at(db, body_id, horizon):
        place = horizon + " "
    for number, each in enumerate(new, start=max(written, default=0) + 1):
        row = {"body_id": body_id, "frame_id": frame_id, "number": number, "place": place}
        db.execute(rejections.insert(), {**row, "told": rejection.to_dict(each)})
    changed = [place] * bool(new)
    if take_back and gone:
        changed += [written[number].place for number in gone]
        here = (rejections.c.body_id == body_id, rejections.c.frame_id == frame_id)
        for some in some_at_a_time(gone):
            db.execute(rejections.delete().where(*here, rejections.c.number.in_(some)))
    return max(min(changed), horizon + " ") if changed else None


def _count_asked(db: sa.Connection, record: Record, *, take_back: bool) -> str | None:
    """Count a frame as its record says now, where a person has asked for other corrections in it since it was counted.

    Only with *take_back* also where there are fewer. Returns the place from which to fold anew, None if nothing has
    changed or the frame is not on the line or too old to be folded anew.
    """
    counted = history.counted(record)
    if counted is None:
        return None
    here = (frames.c.body_id == record.camera.body_id, frames.c.frame_id == counted.view.frame_id)
    row = db.execute(sa.select(frames.c.place, frames.c.input).where(*here)).one_or_none()
    if row is None or row.input is None:
        return None
    new = {(spot.x, spot.y) for spot in counted.spots if spot.asked and not spot.rejected}
    with whole():
        old = {(spot["x"], spot["y"]) for spot in row.input["spots"] if spot.get("asked") and not spot["rejected"]}
    if new == old or not (take_back or new - old):
        return None
    lock_body(db, record.camera.body_id)
    db.execute(frames.update().where(*here).values(input=history.to_dict(counted)))
    return str(row.place)


def too_late(db: sa.Connection, body: Any, frame: Counted) -> Counted:
    """Move a frame whose place is out of reach to the end of its epoch."""
    epoch, end = next(span for span in spans_of(db, body.body_id) if span[1] is None or frame.place < span[1])
    query = sa.select(sa.func.max(frames.c.place)).where(within(body.body_id, epoch.place, end))
    last = db.execute(query).scalar_one() or epoch.place
    return dataclasses.replace(frame, place=places.place_after(last, body.revision, frame.place))


def fold_into_old_epoch(db: sa.Connection, latest: Latest, body: Any, frame: Counted) -> None:
    """Fold a frame that comes after all others into an epoch that is over; later epochs stay as they are."""
    body_id = body.body_id
    row = last_state(db, body_id, states.c.epoch == epoch_at(db, body_id, frame.place))
    start = Step(place=row.place, epoch=row.epoch, n=row.n, state=state_at(db, latest, body_id, row))
    step = history.after(start, frame, verdicts_of(db, body_id))
    db.execute(states.delete().where(states.c.body_id == body_id, states.c.place == row.place))
    write_state(db, body_id, dataclasses.replace(step, place=row.place, state=history.undecided(step.state)))
    write_observed(db, body_id, step)
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(revision=body.revision + 1))


def fold_again(db: sa.Connection, latest: Latest, body: Any, since: str) -> None:
    """Fold anew whatever lies at *since* and after it, all of which lies after the horizon.

    Where a cleaning is noticed, the line is cut before the first frame after it, and folded anew from there.
    """
    body_id = body.body_id
    noticed: set[str] = set()
    declined = [(row.since, row.until) for row in rows_of(db, dismissed, body_id)]
    verdicts = verdicts_of(db, body_id)
    while True:
        start = start_before(db, latest, body, since, noticed)
        cuts = [epoch.place for epoch in rows_of(db, epochs, body_id, epochs.c.place > start.place)]
        line = history.fold(start, inputs_after(db, body_id, start.place), cuts, declined, verdicts)
        last = walk(db, body_id, start, line)
        noticed_at = last.state.cleaning.noticed_at
        if noticed_at is None:
            break
        cut = cut_at_cleaning(db, body, last.place, noticed_at)
        if cut is None:  # the line is cut there already
            declined.append((last.place, last.place))
        else:
            noticed.add(cut)
            since = min(since, cut)
    revision = body.revision + 1
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(revision=revision))
    if len(latest) >= BODIES_REMEMBERED:
        latest.clear()
    latest[body_id] = (revision, last.place, last.state)
    thin(db, body_id, last.n - NEAR)
    if last.n // STRIDE > start.n // STRIDE:
        prune(db, body_id, last.n - KEPT)


def start_before(db: sa.Connection, latest: Latest, body: Any, since: str, noticed: set[str]) -> Step:
    """Go back to the last kept state before *since*, and forget what was believed after it.

    A cleaning noticed by a frame that is folded anew has to be noticed anew, except those just *noticed*.
    """
    body_id = body.body_id
    while True:
        row = last_state(db, body_id, states.c.place < since)
        doubtful = [
            epoch.place
            for epoch in rows_of(db, epochs, body_id, epochs.c.how == "noticed", epochs.c.place > body.horizon)
            if epoch.place not in noticed and (epoch.decided_at >= since or epoch.place > row.place)
        ]
        if not doubtful:
            break
        since = min(since, *doubtful)
        for some in some_at_a_time(doubtful):
            db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.place.in_(some)))
    start = Step(place=row.place, epoch=row.epoch, n=row.n, state=state_at(db, latest, body_id, row))
    db.execute(states.delete().where(states.c.body_id == body_id, states.c.place > row.place))
    return start


def cut_at_cleaning(db: sa.Connection, body: Any, decided_at: str, noticed_at: tuple[str, str | None]) -> str | None:
    """Begin an epoch before the first frame after a cleaning, None if one begins there already.

    *decided_at* is the place of the frame that gave the proof, *noticed_at* as in `Cleaning`.
    """
    frame_id, taken_at = noticed_at
    first = db.scalars(
        sa.select(frames.c.place).where(frames.c.body_id == body.body_id, frames.c.frame_id == frame_id)
    ).one_or_none()
    place = max(places.place_before(first or decided_at), body.horizon + " ")
    row = {
        "body_id": body.body_id,
        "place": place,
        "how": "noticed",
        "started_at": places.wall_time(taken_at) if taken_at else places.clock_of(place),
        "decided_at": decided_at,
    }
    return place if insert_new(db, epochs, row) else None
