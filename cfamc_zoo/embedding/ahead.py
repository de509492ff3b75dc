"""Work that runs ahead in threads, given out in its order; what waits is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
WEIGHT = 1 << 28  # bytes that works which wait may hold together


@dataclass(frozen=True)
class Work(Generic[T, R]):
    """Something to be done.

    Attributes:
        subject: what it is about.
        do: run in a thread.
        weight: bytes that it holds in memory until it is given out.
    """

    subject: T
    do: Callable[[], R]
    weight: int = 0


def in_order(works: Iterable[Work[T, R]], *, threads: int, ahead: int) -> Iterator[tuple[T, R]]:
    """Each work's subject and result.

    Args:
        works: gone through in the caller's own thread.
        threads: at a time.
        ahead: works that are taken from `works` before their turn.

    Raises:
        What a work raises, at its turn.
    """
    waiting: deque[tuple[T, int, Future[R]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    held = 0
    try:
        for work in works:
            waiting.append((work.subject, work.weight, pool.submit(work.do)))
            held += work.weight
            del work  # it may hold an image
            while waiting and (len(waiting) > ahead or held > WEIGHT):
                subject, weight, future = waiting.popleft()
                held -= weight
                yield subject, future.result()
        while waiting:
            subject, _, future = waiting.popleft()
            yield subject, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
