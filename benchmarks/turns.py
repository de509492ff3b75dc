"""Two sides of a comparison on one machine in turns, each timed on its own turns.

A side can take half an hour, and the speed of a shared machine drifts by the minute: run one
after the other, a slow phase meets one side alone. In turns of seconds it meets both.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

Prepare = Callable[[], Callable[[], Any]]


def in_turns(sides: dict[str, tuple[Prepare, float]]) -> dict[str, tuple[Any, float]]:
    """Run all sides, each in a process of its own that is stopped while another has its turn.

    Args:
        sides: by name, what makes ready, untimed, and returns what is timed; and the seconds of
            its turns. What makes ready must be picklable, and so must what comes out.

    Returns:
        By name, what it returned and its seconds.

    Raises:
        RuntimeError: a side ended without a result.
    """
    running: dict[str, _Side] = {}
    done: dict[str, tuple[Any, float]] = {}
    try:
        for name, (prepare, turn) in sides.items():
            running[name] = _start(name, prepare, turn)
        while running:
            for name, side in list(running.items()):
                if side.has_ended(others_wait=len(running) > 1):
                    done[name] = (side.result(), side.seconds)
                    del running[name]
    finally:
        for side in running.values():
            side.process.kill()
    return done


@dataclass
class _Side:
    name: str
    process: BaseProcess
    answers: Connection
    turn: float
    seconds: float = 0.0

    def has_ended(self, *, others_wait: bool) -> bool:
        """Let it run for a turn, or to its end where nobody waits."""
        start = time.perf_counter()
        self._signal(signal.SIGCONT)
        ended = self.answers.poll(self.turn if others_wait else None)
        if not ended:
            self._signal(signal.SIGSTOP)
        self.seconds += time.perf_counter() - start
        return ended

    def result(self) -> Any:
        try:
            return self.answers.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"{self.name} ended with {self.process.exitcode}") from None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def _start(name: str, prepare: Prepare, turn: float) -> _Side:
    """A process that has made ready and stopped itself."""
    context = multiprocessing.get_context("spawn")  # no thread of torch survives a fork
    answers, questions = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(prepare, questions), daemon=True)
    process.start()
    questions.close()
    assert process.pid is not None
    # Without collecting its exit status, which is left to `multiprocessing`.
    state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if state is None or state.si_code != os.CLD_STOPPED:
        raise RuntimeError(f"{name} ended before it was ready")
    return _Side(name, process, answers, turn)


def _work(prepare: Prepare, answers: Connection) -> None:
    run = prepare()
    os.kill(os.getpid(), signal.SIGSTOP)
    answers.send(run())
