"""What glibc's malloc does with freed memory. Other systems' allocators are left as they are."""

from __future__ import annotations

import ctypes
import sys

# From malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4


def keep_freed_memory() -> None:
    """Holds on to it: for training and for attacks.

    A step allocates and frees hundreds of activations of tens of megabytes. glibc returns such
    blocks to the system at once, and every page is faulted in anew at the next step: a fifth to
    a quarter of a step's time on two CPU cores.
    """
    _set({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**29})


def return_freed_memory() -> None:
    """Gives back every block of a megabyte or more: for work that should stay small.

    glibc raises its own limit with each large block that is freed; what opening a model leaves
    behind is then kept, some 70 MiB for a ResNet-18.
    """
    _set({M_MMAP_THRESHOLD: 2**20})


def _set(values: dict[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for name, value in values.items():
            mallopt(name, value)
