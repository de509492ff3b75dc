"""`config.json`: what pins every other file of a release, as checked plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from cfamc_zoo.errors import ReleaseError, UsageError
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.network.families.known import family_of
from cfamc_zoo.zoo.network.spec import Preprocess

FORMAT_VERSION = 1
SHA256 = re.compile("[0-9a-f]{64}")


T = TypeVar("T")


def from_mapping(cls: type[T], values: dict[str, Any], where: str) -> T:
    """`values` as a dataclass, refusing keys the class does not have.

    Raises:
        ReleaseError: a key is unknown or missing.
    """
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ReleaseError(
            f"{where} has unknown keys {unknown}; allowed: {sorted(known)}; "
            "it may be written by a newer version of cfamc-zoo: upgrade"
        )
    try:
        return cls(**values)
    except TypeError as error:
        raise ReleaseError(f"{where} is incomplete: {error}; export or pull it again") from error
    except UsageError as error:
        raise ReleaseError(f"{where}: {error}") from error


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and sha256 (hex) of one file of a release."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0:
            raise UsageError(f"size is {self.size!r}; it must be a number of bytes")
        if not isinstance(self.sha256, str) or not SHA256.fullmatch(self.sha256):
            raise UsageError(f"sha256 is {self.sha256!r}; it must be 64 hexadecimal digits")


# What the rest of a recipe is, training alone knows.
RECIPE_PARTS = {"name": str, "data": str, "adversary": dict, "views": dict}
PROVENANCE_PARTS = {
    "seconds": (int, float),
    **dict.fromkeys(("imported", "weights", "from", "changed_since"), dict),
}


def _check_parts(values: Any, where: str, parts: Mapping[str, Any]) -> None:
    """Refuses what is no object, or has one of the parts that are read as another type."""
    if not isinstance(values, dict):
        raise UsageError(f"{where} is {values!r}; it must be an object")
    for name, kind in parts.items():
        if name in values and (not isinstance(values[name], kind) or values[name] is True):
            raise UsageError(f"{where}: {name} is {values[name]!r}, which it cannot be")


def _architecture(values: dict[str, Any], where: str) -> Architecture:
    try:
        family, sizes = family_of(values)
    except UsageError as error:
        raise ReleaseError(f"{where}: {error}; upgrade cfamc-zoo") from error
    return from_mapping(family, sizes, where)


def _preprocess(values: dict[str, Any], where: str) -> Preprocess:
    return from_mapping(Preprocess, values, where)


@dataclass(frozen=True)
class ReleaseConfig:
    """`config.json`: what pins every other file of a release but its README."""

    format_version: int
    name: str
    architecture: Architecture
    preprocess: Preprocess
    threat_model: dict[str, Any]  # {"norm": "linf", "eps": "8/255"}; {} for standard training
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    licence: str
    files: dict[str, FileRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "licence"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 255:
                raise UsageError(f"{name} is {value!r}; it must be 1 to 255 printable characters")
        size = self.architecture.fixed_size
        if size not in (None, self.preprocess.size):
            raise UsageError(f"size is {self.preprocess.size}; its network takes {size} alone")
        _check_parts(self.threat_model, "threat_model", {"norm": str, "eps": str})
        if self.threat_model and set(self.threat_model) != {"norm", "eps"}:
            raise UsageError(
                f"threat_model has {sorted(self.threat_model)}; it must have norm and eps, or "
                "nothing"
            )
        _check_parts(self.recipe, "recipe", RECIPE_PARTS)
        _check_parts(self.provenance, "provenance", PROVENANCE_PARTS)

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
        values = dict(values)
        for key, read in (("architecture", _architecture), ("preprocess", _preprocess)):
            if not isinstance(values.get(key), dict):
                raise ReleaseError(f"{where}: {key} must be an object")
            values[key] = read(values[key], f"{where}: {key}")
        threat = values.get("threat_model")
        named = isinstance(threat, dict) and all(
            isinstance(threat.get(key), str) for key in ("norm", "eps")
        )
        if threat != {} and not named:
            raise ReleaseError(f"{where}: threat_model must be {{}} or hold norm and eps as text")
        for key, kind in (("recipe", dict), ("provenance", dict), ("name", str), ("licence", str)):
            if not isinstance(values.get(key), kind):
                raise ReleaseError(
                    f"{where}: {key} must be {'text' if kind is str else 'an object'}"
                )
        files = values.get("files", {})
        if not isinstance(files, dict) or not all(isinstance(f, dict) for f in files.values()):
            raise ReleaseError(f"{where}: files must map names to {{size, sha256}}")
        values["files"] = {
            name: from_mapping(FileRecord, record, f"{where}: files: {name!r}")
            for name, record in files.items()
        }
        return from_mapping(cls, values, where)
