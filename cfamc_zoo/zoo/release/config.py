"""`config.json`: what pins every other file of a release, as checked plain data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from cfamc_zoo.errors import ReleaseError, UnknownNameError, UsageError
from cfamc_zoo.typed import read, read_value
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.network.families.known import family_of
from cfamc_zoo.zoo.network.spec import Preprocess

FORMAT_VERSION = 1
SHA256 = re.compile("[0-9a-f]{64}")

# What the rest of a recipe is, training alone knows.
RECIPE_PARTS = {"name": str, "data": str, "adversary": dict, "views": dict}
PROVENANCE_PARTS = {
    "seconds": float,
    "method": str,
    **dict.fromkeys(("imported", "weights", "from", "teacher", "changed_since"), dict),
}


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and sha256 (hex) of one file of a release."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UsageError(f"size is {self.size!r}; it must be a number of bytes")
        if not SHA256.fullmatch(self.sha256):
            raise UsageError(f"sha256 is {self.sha256!r}; it must be 64 hexadecimal digits")


@dataclass(frozen=True)
class ReleaseConfig:
    """`config.json`: what pins every other file of a release but its README."""

    format_version: int
    name: str
    architecture: Architecture
    preprocess: Preprocess
    threat_model: dict[str, str]  # {"norm": "linf", "eps": "8/255"}; {} for standard training
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    licence: str
    files: dict[str, FileRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "licence"):
            value = getattr(self, name)
            if not value.isprintable() or not 1 <= len(value) <= 255:
                raise UsageError(f"{name} is {value!r}; it must be 1 to 255 printable characters")
        size = self.architecture.fixed_size
        if size not in (None, self.preprocess.size):
            raise UsageError(f"size is {self.preprocess.size}; its network takes {size} alone")
        if self.threat_model and set(self.threat_model) != {"norm", "eps"}:
            raise UsageError(
                f"threat_model has {sorted(self.threat_model)}; it must have norm and eps, or "
                "nothing"
            )
        for of, parts in (("recipe", RECIPE_PARTS), ("provenance", PROVENANCE_PARTS)):
            values = getattr(self, of)
            for name in parts.keys() & values.keys():
                read_value(parts[name], values[name], "config", f"{of}.{name}")

    def to_json(self) -> dict[str, Any]:
        parts = {part: getattr(self, part).to_json() for part in ("architecture", "preprocess")}
        return asdict(self) | parts

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str = "config.json") -> ReleaseConfig:
        """Parses the content of `config.json`.

        Raises:
            ReleaseError: not an object, a newer format, an unknown or missing key.
        """
        if not isinstance(values, dict) or "format_version" not in values:
            raise ReleaseError(
                f"{where} is not a cfamc-zoo release: it has no format_version; "
                "give a folder or repository that `cfamc-zoo export` wrote"
            )
        if type(values["format_version"]) is not int or values["format_version"] != FORMAT_VERSION:
            raise ReleaseError(
                f"{where} has format_version {values['format_version']!r}; this version reads "
                f"{FORMAT_VERSION}; upgrade cfamc-zoo"
            )
        with refused(where):
            architecture = _architecture(values.get("architecture"))
            return read(cls, {**values, "architecture": architecture}, "config")


def _architecture(values: object) -> Architecture:
    if not isinstance(values, dict):
        raise UsageError(f"architecture is {values!r}; it must be a table of keys")
    family, sizes = family_of(values)
    return read(family, sizes, "architecture")


@contextmanager
def refused(where: str) -> Iterator[None]:
    """What a file of a release holds and may not is the release's fault, not its reader's.

    Raises:
        ReleaseError: names the file, and says what to do.
    """
    try:
        yield
    except UsageError as error:
        newer = isinstance(error, UnknownNameError)
        more = ", or upgrade: a newer cfamc-zoo may have written it" if newer else ""
        raise ReleaseError(f"{where}: {error}; export or pull it again{more}") from error
