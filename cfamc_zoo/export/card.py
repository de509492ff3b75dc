"""Model cards: prose around the numbers of results.json, none of them typed."""

from __future__ import annotations

import json
from typing import Any

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.spec import ReleaseConfig
from cfamc_zoo.zoo.weights import RESULTS, Release

Rows = list[dict[str, Any]]

LIMITS = """\
The robust accuracy holds for the stated attack, norm, radius, data and linear head. It is an
upper bound: a stronger attack can lower it, and PGD is not the strongest. It promises nothing
for other norms, larger radii, rotations, corruptions, other data, or heads trained otherwise.
The encoder saw 32 x 32 photographs of a few classes; larger images are shrunk to that. It is a
research model: nothing that matters should rest on it alone."""

CITATION = """\
```bibtex
@article{ghofrani2025cfamcssl,
  title = {An Empirical Study of Accuracy-Robustness Tradeoff and Training Efficiency in
           Self-Supervised Learning},
  author = {Ghofrani, Fatemeh and Jamshidi, Pooyan},
  journal = {arXiv preprint arXiv:2501.03507},
  year = {2025}
}
@software{cfamc-zoo,
  title = {cfamc-zoo: robust self-supervised image encoders},
  license = {Apache-2.0}
}
```"""

# The rows behind the head that is released; others are there to compare with.
OWN_PROTOCOL = "linear head chosen for robustness; PGD, random start"

# What model-index tells of an attack, beside its value.
SETTINGS = ("attack", "norm", "eps", "steps", "restarts", "n", "low", "high", "seed", "command")

SUMMARY_KEYS = ("metric", "attack", "norm", "eps", "steps", "data", "n", "value")


def summarize(rows: Rows) -> Rows:
    """The rows that the registry repeats: those of full test splits under our own protocol."""
    return [{key: row[key] for key in SUMMARY_KEYS} for row in headline(rows)]


def headline(rows: Rows) -> Rows:
    """The rows of the released head on full test splits."""
    return [
        row
        for row in rows
        if row["protocol"] == OWN_PROTOCOL and not row["data"].endswith("-sample")
    ]


def results_table(rows: Rows) -> str:
    """Results as Markdown tables, one for each protocol."""
    parts = []
    for protocol in dict.fromkeys(r["protocol"] for r in rows):
        parts += [
            f"{protocol[0].upper()}{protocol[1:]}:\n",
            "| data | images | metric | attack | eps | % | 95% interval |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {r['data']} | {r['n']} | {r['metric']} | {r['attack'] or '-'} | "
                f"{r['eps'] or '-'} | {r['value']:.2f} | {r['low']:.2f} to {r['high']:.2f} |"
                for r in rows
                if r["protocol"] == protocol
            ),
            "",
        ]
    return "\n".join(parts).rstrip()


def commands(rows: Rows) -> str:
    """The commands that made the rows, each once."""
    return "\n".join(dict.fromkeys(r["command"] for r in rows))


def render_body(config: ReleaseConfig, rows: Rows) -> str:
    """The card without its metadata block."""
    a, recipe = config.architecture, config.recipe
    threat = config.threat_model
    against = f"{threat['norm']} perturbations of {threat['eps']}" if threat else "no attack"
    size = config.preprocess.size
    return f"""\
# {config.name}

{a.backbone} (width {a.width}, {a.stem} stem), pretrained without labels against {against}:
{_origin(config)}.

## Use

```python
import cfamc_zoo

encoder = cfamc_zoo.load("{config.name}")
z = encoder(images)  # (N, 3, {size}, {size}) in [0, 1] -> (N, {a.features})
classifier = cfamc_zoo.load_classifier("{config.name}")  # images -> logits
```

```
cfamc-zoo embed images/ -m {config.name}
```

Input is RGB in [0, 1] without normalization, so an epsilon means pixels. Features: `backbone`
({a.features} values) and `representation` ({a.representation}), which the released linear head
reads. Meant for: embeddings that small perturbations should not move, and as a baseline in
robustness research.

{_measured(rows)}## Limits

{LIMITS}

{_making(config) if recipe else ""}## Citation

{CITATION}
"""


def _origin(config: ReleaseConfig) -> str:
    if config.recipe:
        return f"recipe `{config.recipe.get('name')}` on {config.recipe.get('data')}"
    imported = config.provenance.get("imported")
    if imported:
        return (
            f"imported from a checkpoint of {imported['layout']}, whose training is not known here"
        )
    return "how it was made is not recorded"


def _measured(rows: Rows) -> str:
    if not rows:
        return ""
    return f"""\
## Measured

Weights as stored. The released head is that of the first table.

{results_table(rows)}

Every row again:

```
{commands(rows)}
```

"""


def _making(config: ReleaseConfig) -> str:
    recipe, made = config.recipe, config.provenance
    adversary = recipe.get("adversary", {}).get("kind", "none")
    minutes = made.get("seconds", 0) / 60
    return f"""\
## How it was made

Recipe `{recipe.get("name")}`: {recipe.get("title")}. {recipe.get("epochs")} epochs of
{recipe.get("views", {}).get("count")} views, adversary `{adversary}`, batches of
{recipe.get("batch_size")} images, seed {recipe.get("seed")}; {minutes:.0f} minutes of training on
{made.get("device")} (torch {made.get("torch")}). Heads are logistic regressions on the frozen
representation of the training images. A tenth of those chose the weight decay: for the released
head the one most robust to PGD-10 among those that keep 95% of the best clean accuracy.

"""


def render(config: ReleaseConfig, rows: Rows) -> str:
    """The whole README.md of a release, with the Hub's metadata and model index."""
    from huggingface_hub import EvalResult, ModelCardData

    data = ModelCardData(
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
            for row in rows
        ]
        or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{render_body(config, rows)}"


def render_release(release: Release) -> str:
    """The README.md of an opened release.

    Raises:
        ReleaseError: its results are not what its config pins, or not rows.
    """
    rows: Rows = []
    if release.has(RESULTS):
        try:
            rows = json.loads(release.read(RESULTS))
            return render(release.config, rows)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ReleaseError(
                f"{RESULTS} of {release.config.name!r} holds no rows of results: {error!r}; "
                "measure the release again"
            ) from error
    return render(release.config, rows)


def _base(data: str | None) -> str:
    """The data set on the Hub that `data` is, or is a sample of."""
    return (data or "").removesuffix("-sample")


def _metric(row: dict[str, Any]) -> str:
    if not row["attack"]:
        return str(row["metric"])
    return f"{row['metric']}, {row['attack']}, {row['norm']} {row['eps']}"
