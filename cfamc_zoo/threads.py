"""How many CPU threads work, and what those do that have nothing to do."""

from __future__ import annotations

import os


def sleep_when_idle() -> None:
    """Threads that wait for others sleep, where by default they spin. Before torch is imported.

    A layer ends when its slowest thread does. Where other programs want the cores, those that
    spin until then take the time from the one that they wait for: beside six busy processes on
    two cores, a ResNet-18 did under 1 forward and backward pass in a second with two threads that
    spin, 6 to 10 with one thread, 13 to 16 with two that sleep. The user's own setting stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(count: int | None) -> None:
    """Torch works with so many; None leaves it as many as it has, one a core.

    ONNX Runtime, where an attack runs in it, is given as many as torch has.
    """
    if count is not None:
        import torch

        torch.set_num_threads(count)
