"""A model's entry in the registry, from its release: the one place where it is made."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.catalogue.registry import ModelSpec
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.folder import Release
from cfamc_zoo.zoo.release.results import read_results, summarize


def entry_of(release: Release, *, repo: str, revision: str) -> ModelSpec:
    """A release as the registry describes it, its weights on the Hub.

    Args:
        release: config.json and results.json are read; nothing else need be there.
        repo: "organization/name".
        revision: of it: a branch, or the commit that pins it.

    Raises:
        ReleaseError: its results are not as pinned, or none; or of its making something is said
            that cannot be.
    """
    config = release.config
    with wording.readable(config.name):
        how = wording.origin(config.recipe, config.provenance, config.threat_model)
    return ModelSpec(
        name=config.name,
        title=f"{config.architecture.title}, {how}",
        architecture=config.architecture.to_json(),
        preprocess=config.preprocess.to_json(),
        recipe=str(config.recipe.get("name", "")),
        licence=config.licence,
        repo=repo,
        revision=revision,
        config_sha256=release.config_sha256,
        bundled=False,
        threat_model=config.threat_model,
        results=summarize(read_results(release)),
    )


def write_entry(spec: ModelSpec) -> Path:
    """Makes the model known by its name; the file is the package's.

    Raises:
        ReleaseError: a name that a file or a command line cannot have.
        StorageError: it cannot be written.
    """
    if not registry.NAME.fullmatch(spec.name):
        raise ReleaseError(
            f"a model cannot be known as {spec.name!r}; export it under a name of letters, digits, "
            "dots and dashes"
        )
    file = registry.FOLDER / "models" / f"{spec.name}.json"
    with atomic_file(file) as path:
        path.write_bytes((json.dumps(asdict(spec), indent=2) + "\n").encode())
    registry.forget()
    return file
