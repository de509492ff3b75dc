"""What a machine does to a run, said in one line with what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cfamc_zoo.errors import TrainingError


@contextmanager
def training_faults() -> Iterator[None]:
    """Turns running out of memory and losing the device into a TrainingError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingError(_out_of_memory(error)) from error
    except RuntimeError as error:
        text = str(error)
        if "can't allocate memory" in text:  # the CPU allocator has no type of its own
            raise TrainingError(_out_of_memory(error)) from error
        if "CUDA error" in text or "CUDA driver" in text:
            raise TrainingError(
                f"the GPU failed: {text.splitlines()[0]}; check it with nvidia-smi, then go on "
                "from the last checkpoint with --resume"
            ) from error
        raise


def _out_of_memory(error: BaseException) -> str:
    first = (str(error) or "no memory left").splitlines()[0]
    return f"out of memory: {first}; lower it with --set batch_size=... or --set views.count=..."
