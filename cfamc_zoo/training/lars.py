"""SGD with layer-wise adaptive rates, without one host synchronization."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Lars(torch.optim.SGD):
    """SGD whose matrices step by a rate adapted to the norms of weight and gradient.

    A parameter w with gradient g takes the rate min(lr, eta |w| / (|g| + weight_decay |w|))
    and is decayed; vectors (biases, norms) take lr as it is and no decay. Where a norm is
    zero the plain gradient is used.

    Source: LARS (arXiv 1708.03888) with the clipping of the paper's public code.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        eta: float,
    ):
        super().__init__(list(parameters), lr=lr, momentum=momentum, nesterov=True, fused=True)
        self.decay, self.eta = weight_decay, eta

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.grad is not None and p.ndim > 1]
            self._adapt(matrices, group["lr"])
        super().step()

    def _adapt(self, weights: list[Tensor], lr: float) -> None:
        gradients = [w.grad for w in weights if w.grad is not None]
        weight_norms = torch.stack(torch._foreach_norm(weights))
        gradient_norms = torch.stack(torch._foreach_norm(gradients))
        adapted = self.eta * weight_norms / (gradient_norms + self.decay * weight_norms + 1e-8)
        plain = (weight_norms == 0) | (gradient_norms == 0)
        scale = torch.where(plain, 1.0, (adapted / max(lr, 1e-12)).clamp(max=1.0))
        decay = torch.where(plain, 0.0, self.decay)
        torch._foreach_add_(gradients, torch._foreach_mul(weights, list(decay.unbind())))
        torch._foreach_mul_(gradients, list(scale.unbind()))
