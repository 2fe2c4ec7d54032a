"""Work that is shared by two: nothing is lost or out of order, and what goes wrong is told when both are done."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.errors import FrameError
from dustd.pipeline.shared_work import share


@given(st.lists(st.integers(), max_size=9))
def test_the_results_are_in_the_order_of_the_items(items):
    assert share(items, lambda some: [2 * each for each in some], lambda some: [2 * each for each in some]) == [
        2 * each for each in items
    ]


def test_one_alone_does_it_all():
    assert share([1, 2, 3], lambda some: [2 * each for each in some], None) == [2, 4, 6]


def test_both_do_their_half_at_the_same_time():
    together = threading.Barrier(2, timeout=30)

    def work(items):
        together.wait()
        return items

    assert share([1, 2, 3], work, work) == [1, 2, 3]


@pytest.mark.parametrize("here", [True, False])
def test_what_goes_wrong_with_one_half_is_told_when_the_other_is_done(here):
    done = []

    def fails(_items):
        raise FrameError("it cannot be measured", remedy="Left untouched")

    def works(items):
        done.extend(items)
        return items

    with pytest.raises(FrameError, match="cannot be measured"):
        share([1, 2], *((fails, works) if here else (works, fails)))
    assert len(done) == 1
