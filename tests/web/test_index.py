"""The list of frames: what is on it, in which order, page by page."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dustd.web.index import Index, Wanted
from dustd.web.messages import FolderNow, Matter, Snapshot, Watched
from dustd.web.rows import Row, key_of

WATCHED = Watched(path=Path("/shoot"), output=Path("/shoot/Cleaned"))


def row(number, *, order=None, risk=0.0, status="cleaned", body="A", version="1"):
    sidecar = f"/shoot/Cleaned/{number}.NEF.dustd.json"
    return Row(
        id=key_of(sidecar),
        source=f"/shoot/{number}.NEF",
        sidecar=sidecar,
        folder=key_of("/shoot"),
        status=status,
        at="",
        order=float(number if order is None else order),
        risk=risk,
        body=body,
        version=version,
    )


def index_of(*rows):
    index = Index()
    for each in rows:
        index.put(each)
    return index


def snapshot(*, in_hand=None, next_up=(), held=()):
    folder = FolderNow(path="/shoot", output="/shoot/Cleaned", present=True, waiting=0, held=held)
    return Snapshot(
        doing="idle",
        paused=False,
        order="oldest",
        waiting=0,
        in_hand=in_hand,
        next_up=next_up,
        seconds_per_frame=None,
        backlog_s=None,
        counts={},
        folders=(folder,),
    )


def names(rows):
    return [each.name for each in rows]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7), st.booleans())
def test_pages_put_together_are_the_whole_list_in_order(orders, limit, by_risk):
    rows = [row(number, order=order, risk=0.3 + order / 10) for number, order in enumerate(orders)]
    index, wanted = index_of(*rows), Wanted(by_risk=by_risk)
    found, cursor = [], None
    while True:
        some, cursor, total = index.page(wanted, limit, cursor)
        found += some
        if cursor is None:
            break
    assert total == len(found) == len(rows)
    keys = [wanted.key(each) for each in found]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_a_page_goes_on_where_the_last_one_ended_though_frames_have_come_meanwhile():
    index = index_of(*(row(number) for number in range(6)))
    first, cursor, _ = index.page(Wanted(), 3, None)
    index.put(row(9))
    second, _, _ = index.page(Wanted(), 3, cursor)
    assert names(first) + names(second) == ["5.NEF", "4.NEF", "3.NEF", "2.NEF", "1.NEF", "0.NEF"]


def test_lists_hold_what_is_asked_for():
    index = index_of(row(1), row(2, body="B"), row(3, status="failed"), row(4, risk=0.8), row(5, risk=0.4))
    assert names(index.page(Wanted(body=key_of("B")), 9, None)[0]) == ["2.NEF"]
    assert names(index.page(Wanted(status="failed"), 9, None)[0]) == ["3.NEF"]
    assert names(index.page(Wanted(by_risk=True), 9, None)[0]) == ["4.NEF", "5.NEF"]
    assert index.page(Wanted(folder="other"), 9, None) == ([], None, 0)
    assert index.needs_look() == 2


def test_what_waits_and_is_in_hand_lies_over_what_was_done_before():
    index = index_of(row(1))
    changed = index.take(snapshot(in_hand="/shoot/1.NEF", next_up=("/shoot/2.NEF",)), [WATCHED])
    assert {each.name: each.status for each in changed} == {"1.NEF": "working", "2.NEF": "waiting"}
    assert {each.name: each.status for each in index.page(Wanted(), 9, None)[0]} == {
        "1.NEF": "working",
        "2.NEF": "waiting",
    }
    changed = index.take(snapshot(), [WATCHED])
    assert names(changed) == ["1.NEF"] and names(index.page(Wanted(), 9, None)[0]) == ["1.NEF"]
    assert index.get(key_of("/shoot/Cleaned/1.NEF.dustd.json")).status == "cleaned"


def test_a_file_that_is_not_whole_yet_says_why():
    held = Matter(path="/shoot/3.NEF", problem="it is empty so far", remedy="Wait")
    index = Index()
    index.take(snapshot(held=(held,)), [WATCHED])
    (only,) = index.page(Wanted(), 9, None)[0]
    assert (only.status, only.problem) == ("waiting", "it is empty so far")


def test_the_same_version_of_a_sidecar_is_no_news():
    index = index_of(row(1, status="improved"))
    assert not index.put(row(1))
    assert index.get(row(1).id).status == "improved"
    assert index.put(row(1, version="2")) and index.get(row(1).id).status == "cleaned"


def test_neighbours_are_those_in_the_list_of_all():
    index = index_of(row(1), row(2), row(3))
    assert index.neighbours(row(2)) == (row(3).id, row(1).id)
    assert index.neighbours(row(3)) == (None, row(2).id)
