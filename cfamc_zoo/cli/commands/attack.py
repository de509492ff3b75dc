"""`cfamc-zoo attack`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_measured
from cfamc_zoo.cli.options import AttackBatch, Device, Json, Limit, Measured, Seed, Threads
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.evaluation.attacks.choice import ATTACKS, FEATURE, Choice, named_once, read_settings
from cfamc_zoo.zoo.network.spec import FEATURES
from cfamc_zoo.zoo.threat import NORMS, norm_called

EXAMPLES = (
    "cfamc-zoo attack --eps 4/255,8/255 --limit 100",
    "cfamc-zoo attack --attack apgd --limit 50 --report report.html",
)


def attack(
    model: Measured = None,
    eps: Annotated[
        str, typer.Option(help="Radius in pixels of [0, 1]; several with commas.")
    ] = "8/255",
    attack: Annotated[str, typer.Option(help=", ".join(ATTACKS) + ".")] = "pgd",
    norm: Annotated[str, typer.Option(help=", ".join(NORMS) + ".")] = "linf",
    steps: Annotated[
        int | None,
        typer.Option(
            help="Gradient steps [default: 20, apgd and fab 100], or queries of square [5000]."
        ),
    ] = None,
    step_size: Annotated[
        str | None, typer.Option(help="Of pgd and feature, like 1/255. [default: 2.5 eps / steps]")
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Independent runs of pgd and apgd. [default: 1]")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Of pgd: random or zero. [default: random]")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Of pgd and apgd: ce, margin or dlr. [default: ce]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting that the attack has, like targets=3; may be repeated.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A named set, class folders or a .parquet. [default: the bundled sample]"
        ),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(help="A head of your own (.safetensors), made by `cfamc-zoo probe`."),
    ] = None,
    head: Annotated[
        str,
        typer.Option(help="probe, or knn: every other image votes on the rest, which is attacked."),
    ] = "probe",
    features: Annotated[
        str | None,
        typer.Option(
            help="Of feature and knn: backbone, representation or projection. [default: backbone]"
        ),
    ] = None,
    distance: Annotated[
        str | None, typer.Option(help="Of feature: l2 or cosine. [default: l2]")
    ] = None,
    crops: Annotated[
        int | None, typer.Option(min=1, help="Take the mean of N crops. [default: the whole image]")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the adversarial images here (.npy, .parquet).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures here (.html).")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Keep the run's state in this file; the same command goes on."),
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    batch_size: AttackBatch = None,
    json: Json = False,
) -> None:
    """Measure clean and robust accuracy."""
    options = {
        "steps": steps,
        "step_size": step_size,
        "restarts": restarts,
        "start": start,
        "loss": loss,
        "distance": distance,
    }
    kind = norm_called(norm)
    pairs = [(name, value) for name, value in options.items() if value is not None]
    choice = Choice(attack, named_once([*pairs, *read_settings(settings or [])]), kind)
    if head not in ("probe", "knn"):
        raise UnknownNameError("head", head, ("probe", "knn"))
    if head == "knn" and probe is not None:
        raise UsageError("--head knn and --probe are two heads; give one")
    if features is not None and features not in FEATURES:
        raise UnknownNameError("feature", features, FEATURES)
    _check_heads(choice, head, probe)

    from cfamc_zoo.evaluation.outputs import Outputs
    from cfamc_zoo.evaluation.plan import Asked, Plan

    plan = Plan(
        choice,
        [kind.of(part) for part in eps.split(",")],
        seed,
        Asked(model, data, head, probe, features, crops, limit),
        Outputs(save, report, state),
        batch_size,
    )
    plan.outputs.check()
    choice.settings()  # refuses what the attack does not have

    from cfamc_zoo.cli.measuring import measure
    from cfamc_zoo.evaluation.heads.classifiers import (
        classifier_of,
        neighbours_of,
        own_classifier,
        reader_of,
        with_classes_of,
    )
    from cfamc_zoo.evaluation.subject import head_split, measured_images
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.zoo.device import find_device

    use_threads(threads)
    release = open_measured(model)
    read = attack != "feature" and head == "probe"
    split = head_split(release, probe) if read else None
    dataset = measured_images(release, data, limit=limit, seed=seed, split=split, say=output.note)
    torch_device = find_device(device)
    if not dataset.classes and attack != FEATURE:
        output.note(f"note: {dataset.name} has no class folders; running --attack feature")
        choice = replace(choice, name=FEATURE)
        _check_heads(choice, head, probe)
        plan = replace(plan, choice=choice)
    if choice.name == FEATURE or head == "knn":
        plan = replace(plan, asked=replace(plan.asked, features=features or "backbone"))
    elif features is not None:
        raise UsageError("--features is for --attack feature and --head knn; a probe has its own")
    if choice.name == FEATURE:
        from cfamc_zoo.evaluation.feature_measurement import FeatureMeasurement
        from cfamc_zoo.evaluation.features import FeatureReader

        reader = FeatureReader(reader_of(release, crops, seed), features or "backbone")
        measure(FeatureMeasurement(reader, release, dataset, plan, torch_device), json)
        return

    from cfamc_zoo.evaluation.classifier_measurement import ClassifierMeasurement

    if head == "knn":
        votes = reader_of(release, crops, seed)
        classifier, dataset = neighbours_of(votes, dataset, features or "backbone", torch_device)
    else:
        own = own_classifier(release, dataset)
        if own is not None:
            _check_own(model, probe, crops)
            plan = replace(plan, asked=replace(plan.asked, head="own"))
        classifier = own or classifier_of(release, probe, crops, seed)
        dataset = with_classes_of(classifier, dataset, model=model, data=data)
    measure(ClassifierMeasurement(classifier, release, dataset, plan, torch_device), json)


def _check_own(model: str | None, probe: Path | None, crops: int | None) -> None:
    """A classifier of somebody's own reads its own logits, of the whole image."""
    given = "--probe" if probe is not None else "--crops" if crops is not None else ""
    if given:
        raise UsageError(f"{given} is for encoders, and {model} is a classifier; leave it away")


def _check_heads(choice: Choice, head: str, probe: Path | None) -> None:
    """An attack on the encoder has no head."""
    given = "--probe" if probe is not None else "--head knn"
    if choice.name == FEATURE and (probe is not None or head == "knn"):
        raise UsageError(f"{given} is for attacks on a classifier, not for {FEATURE}")
