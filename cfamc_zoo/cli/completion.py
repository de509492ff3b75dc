"""Completion in a shell: the script that a person asks for, and names that can be typed."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

VARIABLE = "_CFAMC_ZOO_COMPLETE"


def prepare_completion(environment: MutableMapping[str, str] = os.environ) -> None:
    """Has typer answer a shell that asks, which it does by a variable; else costs nothing.

    Takes the instruction that prints the script in either order of its two words: "bash_source",
    as other programs have it, and typer's own "source_bash".
    """
    instruction = environment.get(VARIABLE)
    if instruction is None:
        return
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    shell, _, what = instruction.partition("_")
    if what == "source":
        environment[VARIABLE] = f"source_{shell}"


def model_names(incomplete: str) -> list[str]:
    """The zoo's models that begin so."""
    from cfamc_zoo.zoo.catalogue.registry import list_models

    return [spec.name for spec in list_models() if spec.name.startswith(incomplete)]


def recipe_names(incomplete: str) -> list[str]:
    """The package's recipes that begin so."""
    from cfamc_zoo.toml_files import names_in
    from cfamc_zoo.training.recipe_files import RECIPES

    return [name for name in names_in(RECIPES) if name.startswith(incomplete)]
