"""Modules without initial values, for weights that replace them at once.

`torch.device("meta")` alone takes no memory either, but computes the shapes of initial values
operator by operator: twice the time of a small network's construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MAKE = {torch.empty, torch.zeros, torch.ones, torch.tensor}
FILL = {Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_}


class skeleton(TorchFunctionMode):  # noqa: N801
    """While inside, new tensors have a shape and nothing else, and are not filled."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        more = dict(kwargs or {})
        if func in FILL or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else more["tensor"]
        if func in MAKE and more.get("device") is None:
            more["device"] = "meta"
        return func(*args, **more)
