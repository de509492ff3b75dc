"""What can go wrong between a client and a Hub, each as a function around the right answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch


@dataclass(frozen=True)
class Response:
    """An answer. Of its body, `sent` bytes are; -1 sends nothing at all and hangs up."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: int | None = None


Effect = Callable[[Callable[[], Response]], Response]


@dataclass
class Fault:
    """Meets requests whose "METHOD /path" matches `where`, `times` of them or all."""

    where: str
    effect: Effect
    times: int | None = None
    hits: int = 0

    def meets(self, line):
        if self.times == self.hits or not fnmatch(line, self.where):
            return False
        self.hits += 1
        return True


def status(code, reason="", **headers):
    """Answers that instead; `reason` is the Hub's own error code."""
    named = {key.replace("_", "-"): str(value) for key, value in headers.items()}
    return lambda proceed: Response(code, {"X-Error-Code": reason, **named}, b"{}")


def slow(seconds):
    """Answers rightly, too late."""

    def effect(proceed):
        time.sleep(seconds)
        return proceed()

    return effect


def lost():
    """Does what was asked and hangs up without an answer."""
    return lambda proceed: replace(proceed(), sent=-1)


def cut(part):
    """Hangs up after that part of the body, a fraction."""

    def effect(proceed):
        response = proceed()
        return replace(response, sent=int(len(response.body) * part))

    return effect


def altered(change):
    """Sends another body, with its own length."""

    def effect(proceed):
        response = proceed()
        body = change(response.body)
        return replace(response, body=body, headers={**response.headers, "Content-Length": ""})

    return effect
