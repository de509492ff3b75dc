"""The attacked model: exact in float32 for every verdict, a fast copy for the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import DataError, ModelError
from cfamc_zoo.evaluation.batching import is_out_of_memory
from cfamc_zoo.evaluation.scoring import Score, open_scoring
from cfamc_zoo.evaluation.search_copy import search_copy_of
from cfamc_zoo.zoo.device import fast_dtype

WORTH_EXPORTING = 50_000  # images; an export takes some seconds


class Target:
    """A classifier under attack. Use as made by `attacked`.

    Args:
        model: (N, C, H, W) in [0, 1] to (N, classes) logits; in evaluation mode.
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
        self.model, self.classes, self.example = model, classes, example
        self.layout = torch.contiguous_format
        exact = self.logits(example)
        self.layout = _fast_layout(model, example, exact)
        wanted = precision or fast_dtype(example.device)
        self.search = search_copy_of(model, example, exact, wanted)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(N, classes) float32, from the model itself.

        Raises:
            ModelError: it raises, or returns something else than finite logits of that shape.
        """
        # In one layout, whatever a gradient has left: models may use `view`.
        return self._checked(self.model, images.contiguous(memory_format=self.layout)).float()

    def predictions(self, images: Tensor) -> Tensor:
        """(N,) int64: the verdicts."""
        return self.logits(images).argmax(1)

    def search_logits(self, images: Tensor) -> Tensor:
        """(N, classes) float32, from the fast copy; differentiable with respect to the images."""
        return self._checked(self.search, images).float()

    @contextmanager
    def scoring(self, count: int) -> Iterator[Score]:
        """The fast copy for an attack without gradients, on about `count` images in all.

        Where it is worth an export it runs in ONNX Runtime, which then has the threads: torch
        has one, for the small work between.

        Returns:
            (N, C, H, W) to (N, classes) float32.
        """
        plain = self.search.precision == torch.float32 and self.example.device.type == "cpu"
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
        return open_scoring(self.search.model, self.example)

    def _checked(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        logits = _answer(model, images)
        if logits.shape[1] != self.classes:
            raise ModelError(
                f"the model returned {tuple(logits.shape)} for {len(images)} images; it must "
                f"return logits of shape ({len(images)}, {self.classes})"
            )
        return logits


def _answer(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(N, classes) finite logits, or a ModelError that says what came instead."""
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
            "it must take (N, C, H, W) in [0, 1]"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the model returned {shape} for {len(images)} images; it must return logits of "
            f"shape ({len(images)}, classes)"
        )
    if not torch.isfinite(logits.detach()).all():
        raise ModelError(
            "the model returned logits that are not finite; no verdict can rest on them"
        )
    return logits


@torch.no_grad()
def _fast_layout(model: nn.Module, example: Tensor, exact: Tensor) -> torch.memory_format:
    """How the model is given images: on a CPU channels-last, where it takes that and agrees."""
    if example.device.type == "cpu":
        try:
            logits = model(example.contiguous(memory_format=torch.channels_last)).float()
            if torch.allclose(logits, exact, rtol=1e-4, atol=1e-4):
                return torch.channels_last
        except Exception as error:  # the model is anybody's code
            if is_out_of_memory(error):
                raise
    return torch.contiguous_format


@contextmanager
def attacked(model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Iterator[Target]:
    """The model as a target: in evaluation mode and without weight gradients for the time.

    Raises:
        DataError: images outside [0, 1] or labels outside 0..classes-1, or not one each.
    """
    if not len(images):
        raise DataError("there are no images to attack; give at least one")
    if len(images) != len(labels):
        raise DataError(f"there are {len(images)} images and {len(labels)} labels; give one each")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise DataError(f"images are in [{low:g}, {high:g}]; they must be in [0, 1]")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels are in {int(labels.min())}..{int(labels.max())}; the model knows "
            f"0..{classes - 1}"
        )
    with _frozen(model):
        yield _target(model, images, classes)


@torch.no_grad()
def width_of(model: nn.Module, images: Tensor) -> int:
    """How many logits the model returns, asked about one image.

    Raises:
        DataError: there is none.
        ModelError: it raises, or returns something else than finite logits.
    """
    if not len(images):
        raise DataError("there are no images to attack; give at least one")
    with _frozen(model):
        return _answer(model, images[:1].contiguous()).shape[1]


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without weight gradients; as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    gradients = {p: p.requires_grad for p in model.parameters()}
    try:
        with suppress(NotImplementedError):  # an exported graph has one mode only
            model.eval()
        for parameter in gradients:
            parameter.requires_grad_(False)
        yield
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
