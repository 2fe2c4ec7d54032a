from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dustd.daemon.settle import Look, Settle

RAW = Path("/shoot/IMG_1.CR3")
QUIET_S, GIVE_UP_S = 2.0, 30.0


def look(size=100, mtime_ns=1, regular=True):
    return Look(size=size, mtime_ns=mtime_ns, regular=regular)


def settle():
    return Settle(quiet_s=QUIET_S, give_up_s=GIVE_UP_S)


def always(seen):
    return lambda path: seen


def test_a_file_is_ready_once_it_was_quiet():
    state = settle()
    state.touch(RAW, 10.0, look())
    assert state.take(11.9, always(look())) is None
    assert state.take(12.0, always(look())) == RAW


def test_an_event_starts_the_quiet_period_again():
    state = settle()
    state.touch(RAW, 10.0, look())
    state.touch(RAW, 11.5, look())
    assert state.take(12.5, always(look())) is None
    assert state.take(13.5, always(look())) == RAW


def test_an_event_after_the_quiet_period_but_before_it_is_taken_starts_it_again():
    state = settle()
    other = Path("/shoot/IMG_0.CR3")
    state.touch(other, 10.0, look(mtime_ns=0))
    state.touch(RAW, 10.0, look())
    assert state.take(20.0, always(look(mtime_ns=0))) == other  # RAW is quiet now, too
    state.touch(RAW, 20.5, look())
    assert state.take(21.0, always(look())) is None
    assert state.take(22.5, always(look())) == RAW


def test_growth_without_an_event_is_noticed():
    state = settle()
    state.touch(RAW, 10.0, look(size=1))
    assert state.take(12.0, always(look(size=2))) is None
    assert state.take(13.9, always(look(size=2))) is None
    assert state.take(14.0, always(look(size=2))) == RAW


def test_a_rewrite_of_the_same_size_without_an_event_is_noticed():
    state = settle()
    state.touch(RAW, 10.0, look(mtime_ns=1))
    assert state.take(12.0, always(look(mtime_ns=2))) is None


def test_an_mtime_in_the_past_makes_no_difference():
    state = settle()
    state.touch(RAW, 10.0, look(mtime_ns=-(10**18)))
    assert state.take(12.0, always(look(mtime_ns=-(10**18)))) == RAW


def test_vanished_files_are_dropped_and_told_once_and_irregular_ones_dropped():
    for seen, told in ((None, [RAW]), (look(regular=False), [])):
        state = settle()
        state.touch(RAW, 10.0, look(size=0))
        state.touch(RAW, 10.0, seen or look())
        assert state.take(12.0, always(seen)) is None
        assert len(state) == 0
        assert state.next_due() is None
        assert state.vanished() == told and state.vanished() == []


def test_an_empty_placeholder_waits_until_it_is_filled():
    state = settle()
    state.touch(RAW, 10.0, look(size=0))
    assert state.take(12.0, always(look(size=0))) is None
    assert state.found_empty() == [RAW] and state.found_empty() == []
    assert state.held_until(RAW) == state.next_due() == 10.0 + GIVE_UP_S
    state.touch(RAW, 20.0, look(size=5))
    assert state.take(22.0, always(look(size=5))) == RAW


def test_a_file_that_stays_empty_is_given_in_the_end():
    state = settle()
    state.touch(RAW, 10.0, look(size=0))
    assert state.take(12.0, always(look(size=0))) is None
    state.found(RAW, 15.0, look(size=0))
    assert state.take(10.0 + GIVE_UP_S - 0.1, always(look(size=0))) is None
    assert state.take(10.0 + GIVE_UP_S, always(look(size=0))) == RAW
    assert not state.hold_back(RAW, 11.0 + GIVE_UP_S, look(size=0))


def test_the_oldest_file_goes_first_and_names_break_ties():
    state = settle()
    looks = {Path("/b"): look(mtime_ns=2), Path("/c"): look(mtime_ns=1), Path("/a"): look(mtime_ns=2)}
    for path, seen in looks.items():
        state.touch(path, 0.0, seen)
    assert [state.take(5.0, looks.get) for _ in range(4)] == [Path("/c"), Path("/a"), Path("/b"), None]


def test_the_newest_file_goes_first_where_that_is_wanted_also_if_it_is_said_late():
    looks = {Path("/b"): look(mtime_ns=2), Path("/c"): look(mtime_ns=1), Path("/a"): look(mtime_ns=3)}
    state = settle()
    for path, seen in looks.items():
        state.touch(path, 0.0, seen)
    assert state.take(5.0, looks.get) == Path("/c")
    state.put_back(Path("/c"))
    state.retime(quiet_s=QUIET_S, give_up_s=GIVE_UP_S, newest_first=True)
    assert [state.take(5.0, looks.get) for _ in range(4)] == [Path("/a"), Path("/b"), Path("/c"), None]


def test_a_file_that_was_put_off_comes_back_in_time_or_when_it_is_hurried_and_lets_others_pass():
    state = settle()
    other = Path("/shoot/IMG_2.CR3")
    for path in (RAW, other):
        state.touch(path, 0.0, look())
    assert state.take(5.0, always(look())) == RAW
    state.put_off(RAW, 60.0)
    state.touch(RAW, 6.0, look())  # an event without a change
    assert state.take(7.0, always(look())) == other
    state.done(other)
    assert state.take(59.0, always(look())) is None
    assert state.next_due() == 60.0
    assert state.take(60.0, always(look())) == RAW
    state.put_off(RAW, 90.0)
    state.check_now(RAW, 61.0)
    state.check_now(other, 61.0)  # is not there
    assert state.take(61.0, always(look())) == RAW


def test_a_file_that_was_put_off_and_changes_is_settled_anew():
    state = settle()
    state.touch(RAW, 0.0, look())
    state.take(5.0, always(look()))
    state.put_off(RAW, 600.0)
    state.touch(RAW, 10.0, look(size=200))
    assert state.take(12.0, always(look(size=200))) == RAW


def test_a_file_that_never_rests_does_not_hold_up_others():
    state = settle()
    busy = Path("/busy.dng")
    state.touch(RAW, 0.0, look())
    for tick in range(10):
        state.touch(busy, tick * 0.5, look(size=tick + 1, mtime_ns=0))
    assert state.take(5.0, always(look())) == RAW


def test_a_taken_file_is_not_given_twice():
    state = settle()
    state.touch(RAW, 0.0, look())
    state.take(2.0, always(look()))
    state.found(RAW, 3.0, look())
    assert state.take(9.0, always(look())) is None
    state.done(RAW)
    assert RAW not in state


def test_a_touch_while_taken_counts_when_it_is_done():
    state = settle()
    state.touch(RAW, 0.0, look())
    state.take(2.0, always(look()))
    state.touch(RAW, 3.0, look(mtime_ns=9))
    state.done(RAW)
    assert state.take(4.9, always(look(mtime_ns=9))) is None
    assert state.take(5.0, always(look(mtime_ns=9))) == RAW


def test_rescans_do_not_disturb_a_file_that_rests():
    state = settle()
    state.found(RAW, 0.0, look())
    for tick in range(1, 4):
        state.found(RAW, tick * 0.5, look())
    assert state.take(2.0, always(look())) == RAW


def test_a_rescan_that_sees_a_change_starts_the_quiet_period_again():
    state = settle()
    state.found(RAW, 0.0, look(size=1))
    state.found(RAW, 1.5, look(size=2))
    assert state.take(2.5, always(look(size=2))) is None
    assert state.take(3.5, always(look(size=2))) == RAW


def test_what_was_put_back_is_ready_at_once():
    state = settle()
    state.touch(RAW, 0.0, look())
    state.take(2.0, always(look()))
    state.put_back(RAW)
    assert state.take(2.0, always(look())) == RAW


def held_back():
    state = settle()
    state.touch(RAW, 0.0, look())
    state.take(2.0, always(look()))
    assert state.hold_back(RAW, 3.0, look())
    return state


def test_an_undecodable_file_gets_one_last_try_and_is_then_given_up():
    state = held_back()
    assert state.take(GIVE_UP_S - 0.1, always(look())) is None
    assert state.take(GIVE_UP_S, always(look())) == RAW
    assert not state.hold_back(RAW, GIVE_UP_S + 1, look())
    state.done(RAW)
    assert len(state) == 0


def test_a_held_back_file_starts_again_when_it_grows():
    state = held_back()
    state.touch(RAW, 10.0, look(size=200))
    assert state.take(12.0, always(look(size=200))) == RAW
    assert state.hold_back(RAW, 13.0, look(size=200))
    assert state.take(10.0 + GIVE_UP_S - 0.1, always(look(size=200))) is None


def test_mere_touches_do_not_keep_a_broken_file_alive():
    state = held_back()
    for tick in range(4, 60):
        state.touch(RAW, float(tick), look())
    assert state.take(60.0, always(look())) == RAW
    assert not state.hold_back(RAW, 61.0, look())


def test_a_file_that_changed_while_it_was_read_waits_again_instead_of_failing():
    state = settle()
    state.touch(RAW, 0.0, look())
    state.take(100.0, always(look()))
    assert state.hold_back(RAW, 101.0, look(size=200))
    assert state.take(103.0, always(look(size=200))) == RAW


writes = st.lists(
    st.tuples(st.floats(0.0, 5.0), st.integers(0, 3), st.sampled_from(["grow", "rewrite", "stamp", "empty"])),
    min_size=1,
    max_size=12,
)


@given(writes, st.lists(st.floats(0.05, 3.0), min_size=1, max_size=30), st.booleans())
def test_whatever_the_writers_do_no_file_is_taken_in_motion_and_each_is_taken_in_the_end(steps, ticks, lose_events):
    """Events may get lost altogether (shares): then only scans at every tick speak of the file."""
    state, disk, written_at = settle(), {}, {}
    schedule, at = [], 0.0
    for gap, number, kind in steps:
        at += gap
        schedule.append((at, Path(f"/{number}.nef"), kind))
    end = at + 4 * QUIET_S + sum(ticks)
    taken: dict[Path, Look] = {}
    now, turn = 0.0, 0
    while now < end:
        while schedule and schedule[0][0] <= now:
            when, path, kind = schedule.pop(0)
            old = disk.get(path, look(size=0, mtime_ns=0))
            size = {"grow": old.size + 7, "empty": 0}.get(kind, old.size or 1)
            stamp = {"stamp": -5 * 10**15 - turn}.get(kind, int(when * 1e9) + len(schedule))
            disk[path] = look(size=size, mtime_ns=stamp)
            written_at[path] = when
            if not lose_events:
                state.touch(path, when, disk[path])
        if lose_events:
            for path, seen in disk.items():
                if taken.get(path) != seen:
                    state.found(path, now, seen)
        while (path := state.take(now, disk.get)) is not None:
            assert disk[path].size > 0 or now - written_at[path] >= GIVE_UP_S
            assert now - written_at[path] >= QUIET_S - 1e-9
            taken[path] = disk[path]
            state.done(path)
        now += ticks[turn % len(ticks)]
        turn += 1
    for path, seen in disk.items():
        assert seen.size == 0 or taken[path] == seen
