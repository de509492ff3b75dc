"""What a probe file says of its head, read without torch."""

from __future__ import annotations

from cfamc_zoo.errors import ReleaseError, ZooError, first_line
from cfamc_zoo.typed import read
from cfamc_zoo.zoo.network.head import Head, Split
from cfamc_zoo.zoo.release.plain_json import parse_json

# Keys of the metadata of safetensors: texts as they are, and values as JSON.
TEXTS, VALUES = {"feature", "data"}, {"classes", "crops", "split"}


def read_head(content: bytes, where: str) -> Head:
    """What the metadata of a safetensors file says of the head in it.

    Raises:
        ReleaseError: it says nothing of a head.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = parse_json(content[8 : 8 + length], where)["__metadata__"]
        values = {name: metadata[name] for name in (*TEXTS, *VALUES) if name in metadata}
        for name in VALUES & values.keys():  # safetensors keeps text alone
            values[name] = parse_json(values[name], name)
        return read(Head, values, "head")
    except (ValueError, KeyError, TypeError, ZooError) as error:
        raise ReleaseError(
            f"{where} is not a probe: {first_line(error)}; train one with "
            "`cfamc-zoo probe -o head.safetensors`"
        ) from error


def read_split(content: bytes) -> Split | None:
    """How the data of a probe file was split; None where nothing was held out, or no such file."""
    try:
        return read_head(content, "probe").split
    except ReleaseError:
        return None
