"""The attacked model: exact in float32 for every verdict, a fast copy for the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from itertools import chain

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import ModelError, UsageError
from cfamc_zoo.evaluation.victim.batching import is_out_of_memory
from cfamc_zoo.evaluation.victim.logits import logits_of
from cfamc_zoo.evaluation.victim.scoring import Score, open_scoring
from cfamc_zoo.evaluation.victim.search_copy import search_copy_of
from cfamc_zoo.zoo.device import fast_dtype
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.multicrop import MultiCrop

WORTH_EXPORTING = 50_000  # images; an export takes some seconds


class Victim:
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
        # A copy, since models may work in place; in one layout, whatever a gradient has left,
        # since they may use `view`.
        return self._checked(self.model, images.clone(memory_format=self.layout)).float()

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
        logits = logits_of(model, images)
        if logits.shape[1] != self.classes:
            raise ModelError(
                f"the model returned {tuple(logits.shape)} for {len(images)} images; it must "
                f"return logits of shape ({len(images)}, {self.classes})"
            )
        return logits


@torch.no_grad()
def _fast_layout(model: nn.Module, example: Tensor, exact: Tensor) -> torch.memory_format:
    """How the model is given images: on a CPU channels-last, where it takes that and agrees."""
    if example.device.type == "cpu":
        try:
            logits = model(example.clone(memory_format=torch.channels_last)).float()
            if torch.allclose(logits, exact, rtol=1e-4, atol=1e-4):
                return torch.channels_last
        except Exception as error:  # the model is anybody's code
            if is_out_of_memory(error):
                raise
    return torch.contiguous_format


@contextmanager
def attacked(model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Iterator[Victim]:
    """The model as a victim: as `frozen`, in float32, with gradients whatever the caller's mode.

    Args:
        images: as `images_of` returns them; on the model's device.
        labels: as `labels_of` returns them.
    """
    with frozen(model), own_modes(images.device):
        yield _target(model, images, classes)


def classifier_of(model: object) -> nn.Module:
    """The model, if it is one that maps images to logits.

    Raises:
        UsageError: something else; says what to give.
    """
    kind = model.__name__ if isinstance(model, type) else type(model).__name__
    if isinstance(model, type):
        raise UsageError(f"model is the class {kind}; give one of it, like {kind}()")
    if isinstance(model, Encoder | MultiCrop):
        raise UsageError(
            "model is an encoder, which has no classes; give `cfamc_zoo.load_classifier(name)`, or "
            "a module of the encoder and a head of yours, or take `cfamc_zoo.attack_encoder`"
        )
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model is of type {kind}; give a torch.nn.Module from images to logits (wrap a "
            "function in one), or a model's name"
        )
    return model


def device_of(model: nn.Module, images: object) -> torch.device:
    """Where the images must be: where the model's weights are; where it has none, as they are.

    Raises:
        ModelError: its weights are nowhere yet.
    """
    own = images.device if isinstance(images, Tensor) else torch.device("cpu")
    devices = [tensor.device for tensor in chain(model.parameters(), model.buffers())]
    if any(device.type == "meta" for device in devices):
        raise ModelError("the model's weights are on the meta device, so have no values; load them")
    return own if not devices or own in devices else devices[0]


def width_of(model: nn.Module, images: Tensor) -> int:
    """How many logits the model returns, asked about the first image.

    Raises:
        ModelError: it raises, or returns something else than finite logits.
    """
    with frozen(model), own_modes(images.device), torch.no_grad():
        return logits_of(model, images[:1].clone()).shape[1]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without weight gradients; as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    gradients = {p: p.requires_grad for p in model.parameters()}
    kept: dict[Tensor, Tensor] = {}
    try:
        with suppress(NotImplementedError):  # an exported graph has one mode only
            model.eval()
        # Statistics of what stays in training mode move with every image that is looked at.
        stuck = [module for module in model.modules() if module.training]
        kept = {b: b.detach().clone() for module in stuck for b in module.buffers(recurse=False)}
        for parameter in gradients:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, wanted in gradients.items():
            parameter.requires_grad_(wanted)
        with torch.no_grad():
            for buffer, before in kept.items():
                buffer.copy_(before)


@contextmanager
def own_modes(device: torch.device) -> Iterator[None]:
    """Gradients and float32, whatever modes the caller is in.

    By default torch's convolutions on a GPU take float32 for TF32, whose 10 bits are too few for
    a verdict, and for pixels.
    """
    before = torch.get_float32_matmul_precision()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.backends.cudnn.deterministic,
            allow_tf32=False,
        ),
    ):
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def _target(model: nn.Module, images: Tensor, classes: int) -> Victim:
    """Tried on eight images, on fewer where memory runs out."""
    for n in (8, 4, 2):
        try:
            return Victim(model, images[:n], classes)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
    return Victim(model, images[:1], classes)
