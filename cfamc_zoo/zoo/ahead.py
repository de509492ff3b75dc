"""Work on a stream that several threads do ahead of whoever takes the results, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    threads: int,
    waiting: int,
    group: int = 1,
) -> Generator[Result, None, None]:
    """Results of `work`, in the order of the items.

    Args:
        items: gone through in the caller's thread, no further than needed.
        work: called in other threads, several at a time; what it raises is raised in its place.
        threads: that work.
        waiting: items that are worked on, or done and not yet taken; at least one group a thread.
        group: items that are handed to a thread together, where each takes little time.
    """
    stream = iter(items)
    tasks: deque[Future[list[Result]]] = deque()
    most = max(threads, waiting // group)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        while members := list(islice(stream, group)):
            tasks.append(pool.submit(lambda members: [work(item) for item in members], members))
            if len(tasks) > most:
                yield from tasks.popleft().result()
        while tasks:
            yield from tasks.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
