"""What a Python caller hands over as images: taken where its meaning is clear, else refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
from PIL import Image

from cfamc_zoo.embedding.items import Item, printable
from cfamc_zoo.embedding.kinds.remote import Address, is_url
from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.images.preprocess import fit, fit_floats, read_image
from cfamc_zoo.zoo.network.spec import Preprocess


class Array(Protocol):
    """NumPy's arrays, torch's tensors and whatever else NumPy can read."""

    def __array__(self) -> np.ndarray: ...


# One image; mappings are the {"bytes": ..., "path": ...} of the datasets library.
Source = str | PathLike[str] | bytes | IO[bytes] | Image.Image | Mapping[str, Any] | Array | Item
ONE = (str, PathLike, bytes, bytearray, memoryview, Image.Image, Mapping, Item)
WANTED = (
    "give paths, Pillow images, the content of files, open files, or arrays: (H, W, 3) or (H, W), "
    "uint8 or floats in [0, 1]"
)


def one_by_one(images: Source | Iterable[Source]) -> Iterator[Source]:
    """The images of one, of an array of many, or of anything that can be gone through.

    Raises:
        DataError: it is none of these, or an array whose axes may mean two things.
    """
    if isinstance(images, ONE) or hasattr(images, "read"):
        return iter([cast("Source", images)])
    array = as_array(images)
    if array is not None:
        return iter(_images_of(array))
    if isinstance(images, set | frozenset):
        raise DataError("a set has no order, so its rows would have none; give a list")
    try:
        return iter(cast("Iterable[Source]", images))
    except TypeError:
        raise DataError(f"what was given is {_a(images)}; {WANTED}") from None


def as_array(value: object) -> np.ndarray | None:
    """NumPy's view of any library's array, the channels last; None of what is no array."""
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        first = array.ndim in (3, 4) and array.shape[-3] in (1, 3)
        return np.moveaxis(array, -3, -1) if first else array
    return np.asarray(value) if hasattr(value, "__array__") else None


def _images_of(array: np.ndarray) -> Iterable[Source]:
    if array.ndim and len(array) == 0:
        return []
    if array.dtype.kind in "OUS" and array.ndim == 1:
        names: list[Source] = array.tolist()
        return names
    if array.ndim == 4:
        return array
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4)):
        return [array]
    if array.ndim != 3:
        raise DataError(f"the array is {array.dtype} {array.shape}; {WANTED}, or (N, H, W, 3)")
    if array.shape[0] in (3, 4):
        count, height, width = array.shape
        raise DataError(
            f"{array.shape} may be one image, channels first, or {count} grey ones; give "
            f"(1, {count}, {height}, {width}) or ({count}, {height}, {width}, 1)"
        )
    return array


def pixels_of(source: Source, i: int, preprocess: Preprocess) -> np.ndarray:
    """One image as the model's input.

    Args:
        source: see `WANTED`.
        i: its number, for messages.

    Returns:
        (S, S, 3) RGB: uint8, or of uint16 and floats float32 in [0, 1], which keeps all of their
        precision.

    Raises:
        DataError: it cannot be read; says which and why.
    """
    array = None if isinstance(source, ONE) else as_array(source)
    if array is not None:
        return _of_array(array, i, preprocess)
    known = name_of(source, i)
    name = "" if known == str(i) else f", {known!r},"
    try:
        return read_image(_readable(source), preprocess)
    except DataError as error:
        raise DataError(f"image {i}{name} cannot be read: {error}") from error


def name_of(source: Source, i: int) -> str:
    """What an image is called: its path, where it has one, else its number."""
    if isinstance(source, Mapping):
        source = source.get("path") or ""
    if isinstance(source, Item):
        return source.name
    named = os.fsdecode(source) if isinstance(source, str | PathLike) else ""
    return printable(named) or str(i)


def weight_of(source: Source) -> int:
    """Bytes that an image holds in memory before it is read, where that is known."""
    if isinstance(source, Mapping):
        source = source.get("bytes") or b""
    if isinstance(source, Item):
        return source.held
    if isinstance(source, Image.Image):
        return source.width * source.height * len(source.getbands())
    held = getattr(source, "nbytes", None) or (len(source) if isinstance(source, bytes) else 0)
    return held if isinstance(held, int) else 0


def _readable(source: Source) -> Path | bytes | Image.Image:
    for kind, reader in READERS:
        if isinstance(source, kind):
            return reader(source)
    if hasattr(source, "read"):
        return _of_file(source)
    raise DataError(f"it is {_a(source)}; {WANTED}")


def _of_path(path: str | PathLike[str]) -> Path | bytes:
    if isinstance(path, str) and is_url(path):
        return Address(path)()
    found = Path(os.fsdecode(path))
    if os.path.isdir(found):  # noqa: PTH112 (names that are too long)
        raise DataError(
            "a folder; give its files, or use `cfamc-zoo embed`, which notes their names"
        )
    return found


def _of_mapping(row: Mapping[str, Any]) -> Path | bytes:
    if row.get("bytes") is not None:
        return bytes(row["bytes"])
    if row.get("path") is not None:
        return _of_path(row["path"])
    raise DataError(
        f"a mapping with the keys {list(row)[:8]}; give the image in it, or bytes or path"
    )


def _of_file(file: Any) -> bytes:
    try:
        if file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from error
    if not isinstance(content, bytes):
        raise DataError("the file was opened as text; open it with mode 'rb'")
    return content


READERS: tuple[tuple[Any, Callable[[Any], Path | bytes | Image.Image]], ...] = (
    ((str, PathLike), _of_path),
    ((bytes, bytearray, memoryview), bytes),
    (Image.Image, lambda image: image),
    (Item, lambda item: item.content()),
    (Mapping, _of_mapping),
)


def _of_array(array: np.ndarray, i: int, preprocess: Preprocess) -> np.ndarray:
    pixels = _channels_last(array)
    floats = array.dtype.kind == "f"
    if pixels is None or not (floats or array.dtype.name in ("uint8", "uint16")):
        raise DataError(f"image {i} is {array.dtype} {array.shape}; {WANTED}")
    if array.dtype == np.uint8:
        return fit(Image.fromarray(np.ascontiguousarray(pixels)), preprocess)
    if not floats:
        return fit_floats(pixels.astype(np.float32) / np.float32(65535), preprocess)
    low, high = pixels.min(), pixels.max()
    # What rounds to 0 or 255 may lie as far outside, as in files; NaN is in no range.
    if not (low >= -0.5 / 255 and high <= 255.5 / 255):
        remedy = "divide by 255" if low >= 0 and 1 < high <= 255 else "undo what scaled them"
        raise DataError(
            f"image {i} has floats of {low:g} to {high:g}; they must be in [0, 1]: {remedy}"
        )
    return fit_floats(pixels.astype(np.float32).clip(0, 1), preprocess)


def _channels_last(array: np.ndarray) -> np.ndarray | None:
    """(H, W) or (H, W, 3); None of any other array."""
    if 0 in array.shape or array.ndim not in (2, 3):
        return None
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] not in (1, 3):
        return None
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _a(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
