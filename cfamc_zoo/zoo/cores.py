"""How many processor cores this process may use, on every system."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those that the process is bound to, where the system tells; else all of the machine's."""
    ask = getattr(os, "sched_getaffinity", None)  # neither macOS nor Windows has it
    return len(ask(0)) if ask else os.cpu_count() or 1
