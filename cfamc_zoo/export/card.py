"""Model cards: card.md around what a release holds. A sentence that does not follow is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.datasets import NAMED, base_of
from cfamc_zoo.errors import UnknownNameError
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.catalogue.registry import ModelSpec
from cfamc_zoo.zoo.network.head import Head
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import CARD as README
from cfamc_zoo.zoo.release.folder import GRAPH, PROBE, PROJECTOR, Release
from cfamc_zoo.zoo.release.probe_file import read_head
from cfamc_zoo.zoo.release.results import (
    OWN_PROTOCOL,
    AccuracyRow,
    Rows,
    accuracies,
    differences,
    partial_images,
    read_results,
)

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

CARD, ENTRY = (Path(__file__).parent / name for name in ("card.md", "entry.md"))

# What model-index tells of an attack, beside its value.
SETTINGS = ("attack", "norm", "eps", "steps", "restarts", "n", "low", "high", "seed", "command")
PAPER = "2501.03507"  # named in the `source` of the recipes that follow it
# How the heads of a protocol came about; tests hold the numbers beside the code that fits them.
HEADS = {
    OWN_PROTOCOL: "The released head is a logistic regression on the frozen features of the "
    "training images. A tenth of those chose its weight decay: the one most robust to PGD-10 "
    "among those that keep 95% of the best clean accuracy.",
}


def render_release(release: Release) -> str:
    """The README.md of an opened release, with the Hub's metadata and model index.

    Raises:
        ReleaseError: its results or its head are not what its config pins, or not such; or its
            config says of its making what cannot be.
    """
    return f"{_card(release)}\n"


def rendered_when(release: Release) -> list[str]:
    """The README.md as it is written before the release's name is known, and afterwards.

    Raises:
        ReleaseError: as `render_release`.
    """
    return [f"{_card(release, known=known)}\n" for known in (False, True)]


def renew_card(release: Release) -> None:
    """Writes the README.md anew of a release that has one.

    Raises:
        ReleaseError: as `render_release`.
        StorageError: it cannot be written.
    """
    file = release.folder / README
    if file.exists():
        text = render_release(release)
        with atomic_file(file) as path:
            path.write_bytes(text.encode())


def render_body(release: Release) -> str:
    """The card without its metadata block.

    Raises:
        ReleaseError: as `render_release`.
    """
    return f"{_card(release).text.strip()}\n"


def render_entry(spec: ModelSpec) -> str:
    """What the registry itself tells of a model, whose weights and card are on the Hub."""
    from jinja2 import Template

    text = Template(ENTRY.read_text(encoding="utf-8"), trim_blocks=False).render(
        spec=spec, quoted=json.dumps(spec.name, ensure_ascii=False)
    )
    return f"{text.strip()}\n"


def _card(release: Release, **said: Any) -> ModelCard:
    """The card, in which `said` is said in place of what follows from the release."""
    from huggingface_hub import ModelCard
    from jinja2 import UndefinedError

    rows = read_results(release)
    head = read_head(release.read(PROBE), PROBE) if release.has(PROBE) else None
    with wording.readable(release.config.name):
        try:
            return ModelCard.from_template(
                _metadata(release, accuracies(rows)),
                template_path=str(CARD),
                **(_use(release, head) | said),
                **_measured(rows),
                **_making(release.config, head, rows),
            )
        except UndefinedError as error:
            raise ValueError(str(error)) from error


def _use(release: Release, head: Head | None) -> dict[str, Any]:
    """What the release is and how it is called."""
    config = release.config
    preprocess = config.preprocess
    return {
        "config": config,
        "network": config.architecture,
        "origin": wording.origin(config.recipe, config.provenance, config.threat_model),
        "known": _is_known(release),
        "quoted": json.dumps(config.name, ensure_ascii=False),
        "shell": quote(config.name),
        "size": preprocess.size,
        "dimension": config.architecture.dimension("backbone"),
        "shorter": preprocess.shorter_side,
        "interpolation": preprocess.interpolation,
        "normalized": (preprocess.mean, preprocess.std) != ((0, 0, 0), (1, 1, 1)),
        "mean": ", ".join(map(str, preprocess.mean)),
        "std": ", ".join(map(str, preprocess.std)),
        "head": head,
        "graph": release.has(GRAPH),
        "features": _features(release),
        "threat": config.threat_model,
    }


def _features(release: Release) -> str:
    """ "`backbone` (128 values), `representation` (256) and, with torch, `projection` (64)"."""
    architecture = release.config.architecture
    sizes = architecture.dimensions
    shown = [f"`{name}` ({sizes[name]})" for name in architecture.graph_features]
    shown[0] = shown[0].replace(")", " values)")
    if "projection" in sizes and release.has(PROJECTOR):
        return f"{', '.join(shown)} and,\nwith torch, `projection` ({sizes['projection']})"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _measured(rows: Rows) -> dict[str, Any]:
    measured = accuracies(rows)
    protocols = dict.fromkeys(row.protocol for row in measured)
    attacks = {row.attack for row in measured if row.attack}
    return {
        "rows": rows,
        "own": OWN_PROTOCOL,
        "tables": {p: [row for row in measured if row.protocol == p] for p in protocols},
        "differences": differences(rows),
        "commands": list(dict.fromkeys(row.command for row in rows)),
        "few": partial_images(measured) if all(row.partial for row in measured) else "",
        "attacks": attacks,
        "weak": all(attack.startswith("PGD") for attack in attacks),
    }


def _making(config: ReleaseConfig, head: Head | None, rows: Rows) -> dict[str, Any]:
    protocols = {row.protocol for row in accuracies(rows)}
    return {
        "recipe": config.recipe,
        "data": wording.data_of(config.recipe, config.provenance),
        "made": wording.training(config.recipe, config.provenance),
        "heads": [HEADS[p] for p in HEADS if head and p in protocols],
        "paper": PAPER in str(config.recipe.get("source", "")),
    }


def _is_known(release: Release) -> bool:
    """Whether the release's name is enough to load this very release."""
    try:
        spec = registry.find_model(release.config.name)
    except UnknownNameError:
        return False
    return spec.config_sha256 == release.config_sha256


def _metadata(release: Release, measured: Sequence[AccuracyRow]) -> ModelCardData:
    """What the Hub reads: licence, tags, data, and every accuracy with its attack's settings."""
    from huggingface_hub import EvalResult, ModelCardData

    config = release.config
    data = base_of(wording.data_of(config.recipe, config.provenance) or "")
    tags = {
        "adversarial-robustness": config.threat_model,
        "self-supervised": wording.method_of(config.recipe, config.provenance),
        "onnx": release.has(GRAPH),
        "safetensors": True,
    }
    return ModelCardData(
        license=config.licence.lower(),
        library_name="cfamc-zoo",
        pipeline_tag="image-feature-extraction",
        tags=[tag for tag, holds in tags.items() if holds],
        datasets=[NAMED[data].repo] if data in NAMED else None,
        model_name=config.name,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=NAMED[base].repo if (base := base_of(row.data)) in NAMED else base,
                dataset_name=f"{row.data}, {row.n} test images",
                dataset_split="test",
                metric_type="accuracy",
                metric_name=f"{_metric(row)}; {row.protocol}",
                metric_value=row.value,
                metric_args={key: v for key in SETTINGS if (v := getattr(row, key)) != ""},
            )
            for row in measured
        ]
        or None,
    )


def _metric(row: AccuracyRow) -> str:
    return f"{row.metric}, {row.attack}, {row.norm} {row.eps}" if row.attack else row.metric
