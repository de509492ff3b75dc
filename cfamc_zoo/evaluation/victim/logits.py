"""What a model answers: finite logits, or one line that says what it must return instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import ModelError, ZooError, first_line
from cfamc_zoo.evaluation.arguments import layout_hint
from cfamc_zoo.evaluation.victim.batching import is_out_of_memory

WRAP = "wrap it in a module whose forward returns"
TWO = f"two logits are needed; {WRAP}"


def logits_of(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(N, classes) finite logits of (N, C, H, W) images, which the model may not keep or change.

    Args:
        images: of the caller's; a model that works in place must be given a copy.

    Raises:
        ModelError: the model raises, or returns something else; says what and what to write.
    """
    try:
        answer = model(images)
    except (torch.OutOfMemoryError, ZooError):
        raise  # the batch is to blame, not the model; or it has said itself what is wrong
    except Exception as error:  # the model is anybody's code
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the model failed on images of shape {tuple(images.shape)}: "
            f"{type(error).__name__}: {first_line(error)}; it must take (N, C, H, W) float32 in "
            f"[0, 1]{_precision_hint(model)}{layout_hint(images.shape)}"
        ) from error
    wrong = _wrong(answer, len(images))
    if wrong:
        raise ModelError(wrong)
    return answer


def check_two(classes: int) -> None:
    """Refuses a classifier with one logit: whichever the image, there is nothing to choose.

    Raises:
        ModelError: fewer than two.
    """
    if classes < 2:
        raise ModelError(
            f"the model returns {classes} logit an image; {TWO} torch.cat((0 * z, z), 1) of that z"
        )


def _wrong(answer: object, n: int) -> str:
    """What is wrong with the answer for n images; empty where nothing is."""
    wanted = f"for {n} images; it must return logits of shape ({n}, classes)"
    if not isinstance(answer, Tensor):
        return f"the model returned {type(answer).__name__} {wanted}{_reached(answer)}"
    shape = tuple(answer.shape)
    if not answer.is_floating_point():
        kind = str(answer.dtype).removeprefix("torch.")
        return f"the model returned {kind} {shape} {wanted}, floating point, before any argmax"
    if answer.ndim != 2 or len(answer) != n:
        return f"the model returned {shape} {wanted}{_reduced(answer, n)}"
    bad = int((~torch.isfinite(answer.detach())).any(1).sum())
    if bad:
        return (
            f"the model returned logits that are not finite for {bad} of {n} images; no verdict "
            "can rest on them: look for a logarithm or a division by zero, or run it in float32"
        )
    return ""


def _reached(answer: object) -> str:
    """How the logits are reached in what holds them."""
    if hasattr(answer, "logits"):
        return f": {WRAP} model(images).logits"
    if isinstance(answer, Mapping):
        names = [name for name, value in answer.items() if isinstance(value, Tensor)]
        return f": {WRAP} model(images)[{next(iter(names), 'logits')!r}]"
    if isinstance(answer, tuple | list):
        return f": {WRAP} model(images)[0]"
    return ", as a torch tensor"


def _reduced(answer: Tensor, n: int) -> str:
    if answer.ndim == 1 and len(answer) == n:
        return f": {TWO} torch.stack((0 * z, z), 1) of that z"
    if answer.ndim == 1 and n == 1:
        return ": it squeezes the batch away where that is one image; name the dimension in squeeze"
    if answer.ndim > 2 and len(answer) == n and answer[0].numel() == answer.shape[1]:
        return f": {WRAP} model(images).flatten(1)"
    if answer.ndim > 2 and len(answer) == n:
        return f": {WRAP} one row an image, such as the mean over the other dimensions"
    return ""


def _precision_hint(model: object) -> str:
    """Half precision cannot take float32 images, and no verdict in it is exact."""
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    types = {p.dtype for p in weights if p.is_floating_point()} - {torch.float32}
    names = ", ".join(sorted(str(t).removeprefix("torch.") for t in types))
    return f"; its weights are {names}: give model.float()" if names else ""
