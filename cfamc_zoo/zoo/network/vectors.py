"""What anybody's module returns, as one vector an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from cfamc_zoo.errors import ModelError

WRAP = "wrap a module whose forward returns"
# Of what the transformers library returns: the one vector an image that the model itself names.
NAMED = ("image_embeds", "pooler_output")


class Vectors(nn.Module):
    """A module from images to vectors, whatever that module returns them in.

    A tensor (N, D), or (N, D, 1, 1), is taken as it is. Of a mapping or an object of the
    transformers library the first of `NAMED` is, else its only tensor of one row an image; of a
    tuple or a list its only one. All else is refused: of tokens and maps nobody but the caller
    knows whether the first, the mean or another one is the vector.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, D) floating point.

        Raises:
            ModelError: the module returns something else; says what to write.
        """
        answer = self.module(images.clone())  # which it may work on in place
        return _vector(answer, len(images))


def _vector(answer: Any, n: int) -> Tensor:
    found, place = _found(answer, n)
    wanted = f"for {n} images, not vectors (N, D)"
    if found is None:
        raise ModelError(f"the module returned {place} {wanted}; {WRAP} the one that is the vector")
    shape = tuple(found.shape)
    what = f"the module returned {place}{shape} {wanted}"
    if not found.is_floating_point():
        kind = str(found.dtype).removeprefix("torch.")
        raise ModelError(f"the module returned {kind} {shape}; {WRAP} floating point (N, D)")
    if found.ndim < 2 or len(found) != n:
        raise ModelError(f"{what}; {WRAP} one row an image")
    if found.ndim == 3:
        raise ModelError(f"{what}: tokens; {WRAP} x[:, 0], the class token, or x.mean(1)")
    if found.ndim > 2 and found[0].numel() != shape[1]:
        raise ModelError(f"{what}; {WRAP} x.mean({tuple(range(2, found.ndim))})")
    return found.flatten(1)


def _found(answer: Any, n: int) -> tuple[Tensor | None, str]:
    """The tensor that is the vector, or none; and in words where it is, or what there is."""
    if isinstance(answer, Tensor):
        return answer, ""
    if isinstance(answer, tuple | list) and not hasattr(answer, "_fields"):
        return _only({f"[{i}]": part for i, part in enumerate(answer)}, answer, n)
    held = answer if isinstance(answer, Mapping) else _attributes(answer)
    for name in NAMED:
        if isinstance(held.get(name), Tensor):
            return held[name], f"{name} "
    return _only(held, answer, n)


def _attributes(answer: Any) -> Mapping[str, Any]:
    names: Iterable[str] = getattr(answer, "_fields", ())  # of a named tuple
    return {name: getattr(answer, name) for name in names or getattr(answer, "__dict__", ())}


def _only(held: Mapping[Any, Any], answer: Any, n: int) -> tuple[Tensor | None, str]:
    """The one tensor of vectors among these; in words all that there is, if not one alone."""
    tensors = {k: v for k, v in held.items() if isinstance(v, Tensor)}
    rows = {k: v for k, v in tensors.items() if v.ndim == 2 and len(v) == n}
    if len(rows) == 1:
        name, found = next(iter(rows.items()))
        return found, f"{name} "
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors.items())
    kind = type(answer).__name__
    return None, f"a {kind} of {shapes}" if shapes else f"a {kind}"
