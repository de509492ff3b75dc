"""How images become vectors: what the vectors depend on, and what they do not."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypedDict

from cfamc_zoo.embedding.scaling import check_dtype
from cfamc_zoo.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """What vectors depend on, beside model and images."""

    features: str = "backbone"
    backend: str = "onnx"
    normalize: bool = False  # rows at unit L2 norm
    dtype: str = "float32"  # or "float16"

    def __post_init__(self) -> None:
        check_dtype(self.dtype)


@dataclass(frozen=True)
class Execution:
    """How fast it goes, and where; as `open_backend` and `embed_files` take it."""

    device: str | None = None
    threads: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size!r}; it must be 1 or more")


class Options(TypedDict, total=False):
    """The fields of both, as keywords of a Python call."""

    features: str
    backend: str
    normalize: bool
    dtype: str
    device: str | None
    threads: int | None
    batch_size: int


def read_options(options: Options) -> tuple[Settings, Execution]:
    """Keywords of a call as what they set.

    Raises:
        TypeError: there is no such keyword.
        UsageError: an impossible value.
    """
    known = {field.name for field in fields(Settings)}
    settings = {name: value for name, value in options.items() if name in known}
    rest = {name: value for name, value in options.items() if name not in known}
    return Settings(**settings), Execution(**rest)  # type: ignore[arg-type]
