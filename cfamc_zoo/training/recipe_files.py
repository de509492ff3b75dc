"""The recipes of the package, as files. No torch: they are listed and completed at once."""

from __future__ import annotations

from importlib import resources

from cfamc_zoo.toml_files import names_in, read_toml

RECIPES = resources.files(__package__) / "recipes"


def describe_recipes() -> list[dict[str, str]]:
    """Of each recipe in the package, by name: name, title and source."""
    found = (read_toml("recipe", name, RECIPES) for name in names_in(RECIPES))
    return [{key: recipe[key] for key in ("name", "title", "source")} for recipe in found]
