"""Work that threads do ahead of whoever takes it."""

import threading
from itertools import count

import pytest

from cfamc_zoo.zoo.ahead import ahead


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("number", [0, 1, 50])
def test_results_come_in_the_order_of_the_items(number, threads, group):
    done = ahead(iter(range(number)), lambda i: i * i, threads=threads, waiting=7, group=group)
    assert list(done) == [i * i for i in range(number)]


def test_as_many_threads_work_at_a_time_as_it_was_given():
    together = threading.Barrier(3)  # broken, and so an error, where fewer come
    done = ahead(range(6), lambda i: together.wait(10) is None or i, threads=3, waiting=1)
    assert len(list(done)) == 6


def test_the_stream_is_asked_for_no_more_than_what_may_wait():
    asked = []

    def stream():
        for i in range(1000):
            asked.append(i)
            yield i

    done = ahead(stream(), lambda i: i, threads=2, waiting=12, group=4)
    assert asked == []
    for taken in range(1, 30):
        next(done)
        assert len(asked) <= taken + 12 + 4
    done.close()
    assert len(asked) < 60


def test_items_that_hold_much_wait_in_small_numbers(monkeypatch):
    monkeypatch.setattr("cfamc_zoo.zoo.ahead.WEIGHT", 1000)
    taken = count()
    done = ahead(taken, int, threads=2, waiting=50, weight=lambda i: 400)
    assert [next(done) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(taken) <= 5 + 3
    done.close()


def test_an_error_is_raised_in_its_place_and_ends_the_threads():
    def work(i):
        if i == 5:
            raise ValueError("the fifth")
        return i

    done, got = ahead(range(100), work, threads=2, waiting=4), []
    with pytest.raises(ValueError, match="the fifth"):
        got.extend(done)
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]
