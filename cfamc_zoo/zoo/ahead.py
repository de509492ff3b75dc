"""Work on a stream that several threads do ahead of whoever takes the results, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
WEIGHT = 1 << 28  # bytes that items which wait may hold together


def ahead(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    threads: int,
    waiting: int,
    group: int = 1,
    weight: Callable[[Item], int] = lambda item: 0,
) -> Generator[Result, None, None]:
    """Results of `work`, in the order of the items.

    Args:
        items: gone through in the caller's thread, no further than needed.
        work: called in other threads, several at a time; what it raises is raised in its place.
        threads: that work.
        waiting: items that are worked on, or done and not yet taken; at least one group a thread.
        group: items that are handed to a thread together, where each takes little time.
        weight: bytes that an item holds; of heavy ones fewer wait.
    """
    stream = iter(items)
    tasks: deque[tuple[int, Future[list[Result]]]] = deque()
    most, held = max(threads, waiting // group), 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")

    def begin() -> bool:
        """Hands the next group over. No name outside of this keeps what its items hold."""
        nonlocal held
        members = list(islice(stream, group))
        if members:
            load = sum(map(weight, members))
            tasks.append((load, pool.submit(lambda: [work(item) for item in members])))
            held += load
        return bool(members)

    def first() -> list[Result]:
        nonlocal held
        load, task = tasks.popleft()
        results = task.result()
        held -= load
        return results

    try:
        while begin():
            while tasks and (len(tasks) > most or held > WEIGHT):
                yield from first()
        while tasks:
            yield from first()
    finally:
        pool.shutdown(cancel_futures=True)
