"""A model as a command is given it, and a word where it is no longer what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cfamc_zoo.cli import output

if TYPE_CHECKING:
    from cfamc_zoo.zoo.release.folder import Release


def open_measured(name: str | None) -> Release:
    """As `open_model`, and what `package.module:factory` gives, where a person has typed that."""
    from cfamc_zoo.zoo.catalogue.resolve import CODE, TIMM

    if name is None or not CODE.fullmatch(name) or name.startswith(TIMM) or Path(name).exists():
        return open_model(name)
    from cfamc_zoo.zoo.own_code import open_own

    return open_own(name)


def open_model(name: str | None, *, revision: str | None = None) -> Release:
    """The release of a name, a folder or ORGANIZATION/NAME; of None, the default model's."""
    from cfamc_zoo.zoo.catalogue.registry import default_model
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    release = resolve(name or default_model(), revision=revision, say=output.note)
    if release.moved_from is not None:
        output.note(
            f"{name} has moved on since it was last pulled; what was here is its revision "
            f"{release.moved_from}"
        )
    return release
