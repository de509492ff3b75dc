"""The fast copy of a model, which attacks search on.

An attack may look for its perturbation on any network it likes; what counts is whether the
model itself, in float32, falls for it. So the search runs on a copy with BatchNorm folded into
the convolutions, channels-last, in bfloat16 where the device is fast at that. The first and the
last layer stay float32: bfloat16 pixels are 1/256 apart, and late steps are shorter than that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from cfamc_zoo.evaluation.victim.batching import is_out_of_memory

LOWERED_ERROR = 0.05  # of the largest logit, at most, from searching in a lower precision


@dataclass(frozen=True)
class SearchCopy:
    """(N, C, H, W) in [0, 1] to (N, classes) logits in any precision; differentiable.

    Attributes:
        model: what runs.
        layout: how it takes images in memory.
        precision: of its inner layers.
    """

    model: nn.Module
    layout: torch.memory_format
    precision: torch.dtype

    def __call__(self, images: Tensor) -> Tensor:
        lowered = self.precision != torch.float32
        with torch.autocast(images.device.type, self.precision, enabled=lowered):
            # A copy: the network may work in place.
            return self.model(images.clone(memory_format=self.layout))


def search_copy_of(
    model: nn.Module, example: Tensor, exact: Tensor, precision: torch.dtype
) -> SearchCopy:
    """The fastest copy that is still the same function, tried on the example in both directions.

    Anybody's network: folding by the names of its layers can be wrong, `view` wants one layout
    of memory, and some cannot be copied at all. The last resort is the model as it is.

    Args:
        example: (N, C, H, W), to try it on.
        exact: (N, classes), the model's own logits for it.
        precision: what inner layers are lowered to, if that changes the logits little.
    """
    for make in (_folded, copy.deepcopy):
        for layout in (torch.channels_last, torch.contiguous_format):
            try:
                found = SearchCopy(make(model).to(memory_format=layout), layout, torch.float32)
                if not torch.allclose(_tried(found, example), exact, rtol=1e-3, atol=1e-3):
                    continue
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                continue
            return found if precision == torch.float32 else _lowered(found, example, precision)
    return SearchCopy(model, torch.contiguous_format, torch.float32)


def _tried(search: SearchCopy, example: Tensor) -> Tensor:
    """Its float32 logits, after it has also shown a gradient if it has one."""
    images = example.clone().requires_grad_()
    with torch.enable_grad():
        logits = search(images).float()
    if logits.requires_grad:
        torch.autograd.grad(logits.sum(), images, allow_unused=True)
    return logits.detach()


def _lowered(search: SearchCopy, example: Tensor, precision: torch.dtype) -> SearchCopy:
    """The copy in that precision, or as it is where it does not bear it."""
    exact = _tried(search, example)
    try:
        model = _lower(copy.deepcopy(search.model), example, precision)
        lowered = SearchCopy(model, search.layout, precision)
        difference = (_tried(lowered, example) - exact).abs().max()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return search
    return lowered if difference <= LOWERED_ERROR * exact.abs().max() else search


@torch.no_grad()
def _lower(model: nn.Module, example: Tensor, precision: torch.dtype) -> nn.Module:
    """All convolutions and linear layers but the first and the last that run, in `precision`."""
    order: list[nn.Module] = []
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [m.register_forward_pre_hook(lambda m, _: order.append(m)) for m in layers]
    model(example.clone())
    for hook in hooks:
        hook.remove()
    for layer in layers:
        if layer in (order[0], order[-1]):
            layer.forward = _in_float32(layer.forward)  # type: ignore[method-assign, assignment]
        else:
            layer.to(precision)
    return model


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    return run


def _folded(model: nn.Module) -> nn.Module:
    """A copy with each BatchNorm folded that by name or order follows a layer."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        children = dict(module.named_children())
        if isinstance(module, nn.Sequential):
            pairs = list(pairwise(children))
        else:  # conv1 and bn1, as in torchvision's blocks
            pairs = [(n, n.replace("conv", "bn")) for n in children if n.startswith("conv")]
        for first, second in pairs:
            layer, norm = children[first], children.get(second)
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(layer, norm))
            elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                setattr(module, first, fuse_linear_bn_eval(layer, norm))
            else:
                continue
            setattr(module, second, nn.Identity())
    return model
