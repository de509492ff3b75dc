"""The attacked model: exact in float32 for every verdict, a fast copy for the search.

An attack may look for its perturbation on any network it likes; what counts is whether the
model itself, in float32, falls for it. So the search runs on a copy with BatchNorm folded into
the convolutions, channels-last, in bfloat16 where the device is fast at that. The first and the
last layer stay float32: bfloat16 pixels are 1/256 apart, and late steps are shorter than that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from cfamc_zoo.errors import DataError, ModelError
from cfamc_zoo.evaluation.scoring import Score, open_scoring
from cfamc_zoo.zoo.device import fast_dtype

WORTH_EXPORTING = 50_000  # images; an export takes some seconds
LOWERED_ERROR = 0.05  # of the largest logit, at most, from searching in a lower precision


class Target:
    """A classifier under attack. Use as made by `attacked`.

    Args:
        model: (N, 3, S, S) in [0, 1] to (N, classes) logits; in evaluation mode.
        example: a few images, to try the copy on.
        classes: how many logits there must be.
        precision: of the search; None is what the device is fast at.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Tensor,
        classes: int,
        *,
        precision: torch.dtype | None = None,
    ):
        self.model, self.classes = model, classes
        wanted = precision or fast_dtype(example.device)
        self.search, self.precision = _search_copy(model, example, self.logits(example), wanted)
        self.example = example

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(N, classes) float32, from the model itself.

        Raises:
            ModelError: it raises, or returns something else than finite logits of that shape.
        """
        return self._checked(self.model, images).float()

    def predictions(self, images: Tensor) -> Tensor:
        """(N,) int64: the verdicts."""
        return self.logits(images).argmax(1)

    def search_logits(self, images: Tensor) -> Tensor:
        """(N, classes) float32, from the fast copy; differentiable with respect to the images."""
        with _computing(images.device, self.precision):
            logits = self._checked(
                self.search, images.contiguous(memory_format=torch.channels_last)
            )
        return logits.float()

    @contextmanager
    def scoring(self, count: int) -> Iterator[Score]:
        """The fast copy for an attack without gradients, on about `count` images in all.

        Where it is worth an export it runs in ONNX Runtime, which then has the threads: torch
        has one, for the small work between.

        Returns:
            (N, 3, S, S) to (N, classes) float32.
        """
        plain = self.precision == torch.float32 and self.example.device.type == "cpu"
        score = self._exported if plain and count >= WORTH_EXPORTING else None
        if score is None:
            with torch.no_grad():
                yield self.search_logits
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                yield partial(self._checked, score)
        finally:
            torch.set_num_threads(threads)

    @cached_property
    def _exported(self) -> Score | None:
        return open_scoring(self.search, self.example)

    def _checked(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        try:
            logits = model(images)
        except torch.OutOfMemoryError:
            raise  # the batch is to blame, not the model
        except Exception as error:  # the model is anybody's code
            if is_out_of_memory(error):
                raise
            raise ModelError(
                f"the model failed on images of shape {tuple(images.shape)}: "
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}; "
                "it must take (N, 3, S, S) in [0, 1]"
            ) from error
        if not isinstance(logits, Tensor) or logits.shape != (len(images), self.classes):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(
                f"the model returned {shape} for {len(images)} images; it must return logits of "
                f"shape ({len(images)}, {self.classes})"
            )
        if not torch.isfinite(logits.detach()).all():
            raise ModelError(
                "the model returned logits that are not finite; no verdict can rest on them"
            )
        return logits


@contextmanager
def attacked(model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Iterator[Target]:
    """The model as a target: in evaluation mode and without weight gradients for the time.

    Raises:
        DataError: images outside [0, 1] or labels outside 0..classes-1.
    """
    if not len(images):
        raise DataError("there are no images to attack; give at least one")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise DataError(f"images are in [{low:g}, {high:g}]; they must be in [0, 1]")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels are in {int(labels.min())}..{int(labels.max())}; the model knows "
            f"0..{classes - 1}"
        )
    modes = {module: module.training for module in model.modules()}
    gradients = {p: p.requires_grad for p in model.parameters()}
    model.eval().requires_grad_(False)
    try:
        yield _target(model, images, classes)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, wanted in gradients.items():
            parameter.requires_grad_(wanted)


def _target(model: nn.Module, images: Tensor, classes: int) -> Target:
    """Tried on eight images, on fewer where memory runs out."""
    for n in (8, 4, 2):
        try:
            return Target(model, images[:n], classes)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
    return Target(model, images[:1], classes)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help. The CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _computing(device: torch.device, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


@torch.no_grad()
def _search_copy(
    model: nn.Module, example: Tensor, exact: Tensor, precision: torch.dtype
) -> tuple[nn.Module, torch.dtype]:
    """The fastest copy that is still the same function, and its precision.

    Folded where folding leaves the logits as they are, lowered where that changes them little.
    """
    try:
        folded = _fold(copy.deepcopy(model))
        close = torch.allclose(folded(example).float(), exact, rtol=1e-3, atol=1e-3)
        chosen = (folded if close else copy.deepcopy(model)).to(memory_format=torch.channels_last)
        if precision != torch.float32:
            lowered = _lower(copy.deepcopy(chosen), example, precision)
            with _computing(example.device, precision):
                error = (lowered(example).float() - exact).abs().max()
            if error <= LOWERED_ERROR * exact.abs().max():
                return lowered, precision
    except Exception:  # a model that cannot be copied or folded is attacked as it is
        return model, torch.float32
    return chosen, torch.float32


def _lower(model: nn.Module, example: Tensor, precision: torch.dtype) -> nn.Module:
    """All convolutions and linear layers but the first and the last that run, in `precision`."""
    order: list[nn.Module] = []
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [m.register_forward_pre_hook(lambda m, _: order.append(m)) for m in layers]
    model(example)
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


def _fold(model: nn.Module) -> nn.Module:
    """Folds each BatchNorm that by name or order follows a convolution or linear layer."""
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
