"""What a probe file says of its head, read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfamc_zoo.errors import ReleaseError, ZooError, first_line
from cfamc_zoo.zoo.plain_json import parse_json
from cfamc_zoo.zoo.spec import FEATURES


@dataclass(frozen=True)
class Head:
    """A linear head.

    Attributes:
        feature: what it reads.
        data: the data set whose labels it was trained on.
        classes: names, in the order of the logits.
        crops: `CropPlan`'s fields where it reads the mean over crops, else None.
    """

    feature: str
    data: str
    classes: tuple[str, ...]
    crops: Mapping[str, Any] | None


def read_head(content: bytes, where: str) -> Head:
    """What the metadata of a safetensors file says of the head in it.

    Raises:
        ReleaseError: it says nothing of a head.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = parse_json(content[8 : 8 + length], where)["__metadata__"]
        feature, data = metadata["feature"], metadata["data"]
        classes = tuple(parse_json(metadata["classes"], "classes"))
        if not all(isinstance(name, str) for name in classes):
            raise ValueError("classes are not names")
        crops = parse_json(metadata["crops"], "crops") if "crops" in metadata else None
        if crops is not None and not isinstance(crops, dict):
            raise ValueError("crops are no plan")
    except (ValueError, KeyError, TypeError, ZooError) as error:
        raise ReleaseError(
            f"{where} is not a probe: {first_line(error)}; train one with `cfamc-zoo probe`"
        ) from error
    if feature not in FEATURES:
        raise ReleaseError(f"{where} reads {feature!r}; it is not a probe")
    return Head(feature, data, classes, crops)
