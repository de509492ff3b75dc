"""Work over many images in batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cfamc_zoo.errors import ModelError


def in_batches(
    rows: Tensor, size: int, work: Callable[[Tensor, int], None], say: Callable[[str], None]
) -> None:
    """Calls `work` with parts of `rows`; halves the parts when memory runs out and goes on.

    Args:
        rows: (N,) indices.
        size: the largest part.
        work: does one part, given how many images there is room for, which a last part may
            have fewer than; the same part again, or a half of it, after it has failed.
        say: told of every halving.

    Raises:
        ModelError: not even one image fits.
    """
    pending = list(rows.split(size)) if len(rows) else []
    while pending:
        part = pending[0]
        try:
            work(part, size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                raise ModelError(
                    "out of memory with a single image; use another device or a smaller model"
                ) from error
            size = (len(part) + 1) // 2
            say(f"out of memory with {len(part)} images at a time; going on with {size}")
            pending = list(torch.cat(pending).split(size))
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            del pending[0]


def gathered(
    n: int, size: int, work: Callable[[Tensor], Tensor], say: Callable[[str], None]
) -> Tensor:
    """What `work` returns for all parts of n rows, one after the other, as `in_batches`.

    Args:
        work: (k,) rows to (k, ...).
    """
    found: list[Tensor] = []
    in_batches(torch.arange(n, device="cpu"), size, lambda rows, _: found.append(work(rows)), say)
    return torch.cat(found)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help. The CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
