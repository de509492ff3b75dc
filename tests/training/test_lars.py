"""The fused optimizer against its definition, parameter by parameter in float64."""

import torch
from torch import nn

from cfamc_zoo.training.lars import Lars

LR, MOMENTUM, DECAY, ETA = 0.3, 0.9, 1e-2, 0.005


def slow_step(parameters, buffers):
    for i, p in enumerate(parameters):
        g = p.grad.clone()
        if p.ndim > 1 and p.norm() > 0 and g.norm() > 0:
            rate = ETA * p.norm() / (g.norm() + DECAY * p.norm())
            g = (g + DECAY * p) * min(rate / LR, 1)
        buffers[i] = g if i not in buffers else MOMENTUM * buffers[i] + g
        p -= LR * (g + MOMENTUM * buffers[i])


def test_steps_follow_the_definition_also_where_norms_are_zero():
    torch.manual_seed(0)
    model, slow = (nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)).double() for _ in range(2))
    with torch.no_grad():
        model[1].weight.zero_()
    slow.load_state_dict(model.state_dict())
    fast = Lars(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, eta=ETA)
    buffers: dict[int, torch.Tensor] = {}
    for scale in (1.0, 1e-4, 100.0):  # clipped and adapted rates both occur
        x = scale * torch.randn(4, 5, dtype=torch.float64)
        for m in (model, slow):
            m.zero_grad()
            (m(x).square().sum() + m(x).sum()).backward()
        fast.step()
        with torch.no_grad():
            slow_step(list(slow.parameters()), buffers)
        for a, b in zip(model.parameters(), slow.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)
