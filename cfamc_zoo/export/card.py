"""Model cards: card.md around the numbers of results.json, none of them typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.results import Rows, accuracies, differences, read_results
from cfamc_zoo.zoo.spec import ReleaseConfig
from cfamc_zoo.zoo.weights import Release

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

TEMPLATE = Path(__file__).parent / "card.md"

# What model-index tells of an attack, beside its value.
SETTINGS = ("attack", "norm", "eps", "steps", "restarts", "n", "low", "high", "seed", "command")


def render(config: ReleaseConfig, rows: Rows) -> str:
    """The whole README.md of a release, with the Hub's metadata and model index."""
    return f"{_card(config, rows)}\n"


def render_body(config: ReleaseConfig, rows: Rows) -> str:
    """The card without its metadata block."""
    return f"{_card(config, rows).text.strip()}\n"


def render_release(release: Release) -> str:
    """The README.md of an opened release.

    Raises:
        ReleaseError: its results are not what its config pins, or not rows; or its recipe is
            none.
    """
    rows = read_results(release)
    try:
        return render(release.config, rows)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ReleaseError(
            f"no card can be written of {release.config.name!r}: {error!r} in its config.json; "
            "export the release again"
        ) from error


def _card(config: ReleaseConfig, rows: Rows) -> ModelCard:
    from huggingface_hub import ModelCard
    from jinja2 import UndefinedError

    threat, made = config.threat_model, config.provenance
    measured = accuracies(rows)
    protocols = dict.fromkeys(row["protocol"] for row in measured)
    try:
        return ModelCard.from_template(
            _metadata(config, measured),
            template_path=str(TEMPLATE),
            config=config,
            a=config.architecture,
            size=config.preprocess.size,
            against=f"{threat['norm']} perturbations of {threat['eps']}" if threat else "no attack",
            origin=_origin(config),
            rows=rows,
            tables={p: [row for row in measured if row["protocol"] == p] for p in protocols},
            differences=differences(rows),
            commands=list(dict.fromkeys(row["command"] for row in rows)),
            recipe=config.recipe,
            made=made,
            minutes=made.get("seconds", 0) / 60,
        )
    except UndefinedError as error:
        raise ValueError(str(error)) from error


def _metadata(config: ReleaseConfig, measured: Rows) -> ModelCardData:
    """What the Hub reads: licence, tags, data, and every accuracy with its attack's settings."""
    from huggingface_hub import EvalResult, ModelCardData

    return ModelCardData(
        license=config.licence.lower(),
        library_name="cfamc-zoo",
        pipeline_tag="image-feature-extraction",
        tags=["adversarial-robustness", "self-supervised", "onnx", "safetensors"],
        datasets=[f"uoft-cs/{data}"] if (data := _base(config.recipe.get("data"))) else None,
        model_name=config.name,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=f"uoft-cs/{_base(row['data'])}",
                dataset_name=f"{row['data']} test, {row['n']} images",
                dataset_split="test",
                metric_type="accuracy",
                metric_name=f"{_metric(row)}; {row['protocol']}",
                metric_value=row["value"],
                metric_args={key: row[key] for key in SETTINGS if row.get(key) not in ("", None)},
            )
            for row in measured
        ]
        or None,
    )


def _origin(config: ReleaseConfig) -> str:
    if config.recipe:
        return f"recipe `{config.recipe.get('name')}` on {config.recipe.get('data')}"
    imported = config.provenance.get("imported")
    if imported:
        return (
            f"imported from a checkpoint of {imported['layout']}, whose training is not known here"
        )
    return "how it was made is not recorded"


def _base(data: str | None) -> str:
    """The data set on the Hub that `data` is, or is a sample of."""
    return (data or "").removesuffix("-sample")


def _metric(row: dict[str, Any]) -> str:
    if not row["attack"]:
        return str(row["metric"])
    return f"{row['metric']}, {row['attack']}, {row['norm']} {row['eps']}"
