"""Whether and how the network is compiled."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import torch

Compilation = Literal["auto", "none", "default", "reduce-overhead", "max-autotune"]


def compiled(forward: Any, mode: Compilation, device: torch.device) -> Any:
    """The network's forward pass under torch.compile, or as it is.

    Args:
        forward: a module or function.
        mode: one of torch.compile's ("reduce-overhead" uses CUDA graphs); "auto" is "default" on
            a GPU that Triton supports. At the recipes' batches of 1,600 crops a launch is short
            beside its kernel, so graphs are not the default; on a CPU eager channels-last
            bfloat16 is as fast as what the compiler makes.
    """
    if mode == "auto":
        mode = "default" if device.type == "cuda" and find_spec("triton") else "none"
    if mode == "none":
        return forward
    return torch.compile(forward, mode=mode)
