"""golden.json: the first values of a few vectors, as they were where the release was made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from cfamc_zoo.typed import read
from cfamc_zoo.zoo.release.config import refused
from cfamc_zoo.zoo.release.folder import GOLDEN, Release
from cfamc_zoo.zoo.release.plain_json import parse_json


@dataclass(frozen=True)
class Golden:
    """A few values of the vectors of a set's first images.

    Attributes:
        data: name of the set, which is in the package.
        values: by feature, a list an image of the first values of its vector.
    """

    data: str
    values: dict[str, list[list[float]]]

    def to_bytes(self) -> bytes:
        """A golden.json."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def read_golden(release: Release) -> Golden | None:
    """The verified golden values of a release; None where it has none, as older ones.

    Raises:
        ReleaseError: the file is not what the config pins, or holds something else.
    """
    if not release.has(GOLDEN):
        return None
    where = f"{GOLDEN} of {release.config.name!r}"
    with refused(where):
        return read(Golden, parse_json(release.read(GOLDEN), where), "golden")
