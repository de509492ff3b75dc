"""`cfamc-zoo info`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.accuracies import measured, norms_of, show_accuracies
from cfamc_zoo.cli.completion import model_names
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Json
from cfamc_zoo.errors import HubError
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.release import wording

if TYPE_CHECKING:
    from cfamc_zoo.zoo.release.folder import Release
    from cfamc_zoo.zoo.release.results import Rows

EXAMPLES = (
    "cfamc-zoo info resnet18-cifar10-free",
    "cfamc-zoo info run --json",
)


def info(
    name: Annotated[
        str, typer.Argument(autocompletion=model_names, help="A model's name or a release folder.")
    ],
    json: Json = False,
) -> None:
    """Show one model's card: what it is, how it was made, what was measured."""
    from cfamc_zoo.zoo.release.results import read_results

    try:
        release = open_model(name)
    except HubError as error:
        spec = next((s for s in registry.list_models() if name in (s.name, s.repo)), None)
        if spec is None:
            raise
        output.note(f"{error}; what follows is what the package knows of {spec.name}")
        _entry(spec, json)
        return
    config = release.config
    rows = read_results(release)
    if json:
        output.json_result({**config.to_json(), "results": [row.to_json() for row in rows]})
        return
    output.table(("", ""), _facts(release))
    show_accuracies(rows)
    _differences(rows)


def _facts(release: Release) -> list[tuple[str, str]]:
    from cfamc_zoo.zoo.release.folder import PROBE
    from cfamc_zoo.zoo.release.probe_file import read_head

    config = release.config
    architecture, preprocess = config.architecture, config.preprocess
    here = architecture.graph_features
    facts = [
        ("name", config.name),
        ("network", architecture.description),
        ("features", ", ".join(f"{f} {architecture.dimension(f)}" for f in here)),
        ("input", f"RGB in [0, 1], {preprocess.size} x {preprocess.size}"),
    ]
    with wording.readable(config.name):
        how = wording.origin(config.recipe, config.provenance, config.threat_model)
        training = wording.training(config.recipe, config.provenance)
    facts += [
        ("trained against", wording.threat(config.threat_model, config.recipe)),
        ("made", how),
        *(("training", sentence) for sentence in training),
    ]
    if release.has(PROBE):
        head = read_head(release.read(PROBE), PROBE)
        facts.append(("head", f"reads {head.feature}, {len(head.classes)} classes of {head.data}"))
    facts += [
        ("licence", config.licence),
        ("folder", str(release.folder)),
        *((file, f"{record.size:,} bytes") for file, record in config.files.items()),
    ]
    return facts


def _differences(rows: Rows) -> None:
    from cfamc_zoo.zoo.release.results import differences

    if apart := differences(rows):
        output.result("\ndifferences between torch and ONNX Runtime")
        output.table(
            ("data", "feature", "measure", "value", "limit", "images"),
            [
                (
                    row.data,
                    row.feature,
                    row.metric,
                    f"{row.value:.1e}",
                    f"{row.limit:.1e}",
                    str(row.n),
                )
                for row in apart
            ],
            right=(3, 4, 5),
        )


def _entry(spec: registry.ModelSpec, json: bool) -> None:
    """What the registry knows of a model whose release cannot be had."""
    if json:
        output.json_result(asdict(spec))
        return
    from cfamc_zoo.zoo.release.results import OWN_PROTOCOL

    facts = [
        ("name", spec.name),
        ("model", spec.title),
        ("trained against", spec.threat()),
        ("licence", spec.licence),
        ("on the Hub", f"{spec.repo} at {spec.revision}"),
    ]
    output.table(("", ""), facts)
    if spec.results:
        output.result(f"\n{OWN_PROTOCOL}{norms_of(spec.results)}")
        table = [(*measured(row), str(row.n)) for row in spec.results]
        output.table(("data", "metric", "attack", "eps", "%", "images"), table, right=(4, 5))
