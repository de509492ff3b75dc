"""What a probe file says of its head, read without torch."""

from __future__ import annotations

from cfamc_zoo.errors import ReleaseError, ZooError, first_line
from cfamc_zoo.zoo.network.head import Head, Split
from cfamc_zoo.zoo.network.spec import FEATURES
from cfamc_zoo.zoo.release.plain_json import parse_json


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
        split = Split(**parse_json(metadata["split"], "split")) if "split" in metadata else None
    except (ValueError, KeyError, TypeError, ZooError) as error:
        raise ReleaseError(
            f"{where} is not a probe: {first_line(error)}; train one with "
            "`cfamc-zoo probe -o head.safetensors`"
        ) from error
    if feature not in FEATURES:
        raise ReleaseError(f"{where} reads {feature!r}; it is not a probe")
    return Head(feature, data, classes, crops, split)


def read_split(content: bytes) -> Split | None:
    """How the data of a probe file was split; None where nothing was held out, or no such file."""
    try:
        return read_head(content, "probe").split
    except ReleaseError:
        return None
