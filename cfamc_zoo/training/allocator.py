"""Keeps freed memory in the process while a run lasts.

A step allocates and frees hundreds of activations of tens of megabytes. glibc returns such
blocks to the system at once, and every page is faulted in anew at the next step: a fifth to a
quarter of a step's time on two CPU cores.
"""

from __future__ import annotations

import ctypes
import sys

# From malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Tells glibc's malloc to hold on to what is freed; does nothing on other systems."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**29)
