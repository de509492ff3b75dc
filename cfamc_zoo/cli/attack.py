"""`cfamc-zoo attack`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cfamc_zoo.cli import attack_results, output
from cfamc_zoo.cli.options import Device, Json, Limit, Model, Seed
from cfamc_zoo.errors import UnknownNameError, UsageError, ZooError
from cfamc_zoo.zoo.spec import FEATURES
from cfamc_zoo.zoo.threat import NORMS, parse_epsilon, threat_of

if TYPE_CHECKING:
    from cfamc_zoo.datasets import LabelledImages
    from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
    from cfamc_zoo.evaluation.attacks.protocol import Attack

ATTACKS = (
    *("pgd", "apgd", "apgd-dlr", "apgd-t", "fab", "square"),
    *("autoattack", "apgd-only", "feature"),
)
ENSEMBLES = ("autoattack", "apgd-only")
LOSSES = ("ce", "margin", "dlr")
STEPS = {"pgd": 20, "feature": 20, "square": 5000}  # 100 for the others


def attack(
    model: Model = None,
    eps: Annotated[
        str, typer.Option(help="Radius in pixels of [0, 1]; several with commas.")
    ] = "8/255",
    attack: Annotated[str, typer.Option(help=", ".join(ATTACKS) + ".")] = "pgd",
    norm: Annotated[str, typer.Option(help="linf or l2.")] = "linf",
    steps: Annotated[
        int | None,
        typer.Option(help="Gradient steps, or queries of square. [default: 20, 100, 5000]"),
    ] = None,
    step_size: Annotated[
        str | None, typer.Option(help="Of pgd, like 1/255. [default: 2.5 eps / steps]")
    ] = None,
    restarts: Annotated[int, typer.Option(help="Independent runs.")] = 1,
    start: Annotated[str, typer.Option(help="Of pgd: random or zero.")] = "random",
    loss: Annotated[str, typer.Option(help="Of pgd: ce, margin or dlr.")] = "ce",
    data: Annotated[
        str | None, typer.Option(help="Images and labels. [default: the bundled sample]")
    ] = None,
    probe: Annotated[
        Path | None, typer.Option(help="A head of your own, made by `cfamc-zoo probe`.")
    ] = None,
    head: Annotated[
        str,
        typer.Option(help="probe, or knn: every other image votes on the rest, which is attacked."),
    ] = "probe",
    features: Annotated[
        str, typer.Option(help="Of feature and knn: backbone, representation or projection.")
    ] = "backbone",
    distance: Annotated[str, typer.Option(help="Of feature: l2 or cosine.")] = "l2",
    save: Annotated[
        Path | None, typer.Option(help="Write the adversarial images here (.npy, .parquet).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures here (.html).")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep the run's state here; the same command goes on.")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images at a time. [default: 64, 512 on a GPU]")
    ] = None,
    json: Json = False,
) -> None:
    """Measure clean and robust accuracy."""
    if attack not in ATTACKS:
        raise UnknownNameError("attack", attack, ATTACKS)
    if norm not in NORMS:
        raise UnknownNameError("norm", norm, NORMS)
    epsilons = [part.strip() for part in eps.split(",")]
    for part in epsilons:
        threat_of(norm, part)
    _check_settings(attack, steps, restarts, start, loss)
    if head not in ("probe", "knn"):
        raise UnknownNameError("head", head, ("probe", "knn"))
    if head == "knn" and probe is not None:
        raise UsageError("--head knn and --probe are two heads; give one")
    if features not in FEATURES:
        raise UnknownNameError("feature", features, FEATURES)
    if save is not None:
        from cfamc_zoo.evaluation.saving import check_path

        check_path(save)
    if report is not None:
        attack_results.check_report_path(report)

    from cfamc_zoo.cli.data import classifier_of, data_of, neighbours_of, with_classes_of
    from cfamc_zoo.zoo.registry import default_model, resolve

    release = resolve(model or default_model())
    dataset = data_of(release, data).first(limit)
    if not dataset.classes and attack != "feature":
        output.note(f"note: {dataset.name} has no class folders; running --attack feature")
        attack, steps = "feature", None
    if attack == "feature":
        from cfamc_zoo.cli.attack_feature import attack_feature

        for flag, value in (
            *(("--save", save), ("--report", report)),
            *(("--state", state), ("--probe", probe)),
        ):
            if value is not None:
                raise UsageError(f"{flag} is for attacks on a classifier, not for feature")
        attack_feature(
            release,
            dataset,
            features=features,
            distance=distance,
            norm=norm,
            epsilons=epsilons,
            steps=steps or STEPS[attack],
            step_size=step_size,
            seed=seed,
            device=device,
            batch_size=batch_size,
            json=json,
        )
        return

    import torch

    from cfamc_zoo.evaluation.attacks.ensemble import members_of, substitutions
    from cfamc_zoo.evaluation.doubts import Doubt, compare, examine
    from cfamc_zoo.evaluation.ledger import FileLedger, Ledger
    from cfamc_zoo.evaluation.robustness import accuracies, evaluate
    from cfamc_zoo.zoo.classifier import probe_bytes
    from cfamc_zoo.zoo.device import environment, find_device
    from cfamc_zoo.zoo.multicrop import MultiCrop

    where = find_device(device)
    if head == "knn":
        classifier, dataset = neighbours_of(release, dataset, features, where)
    else:
        classifier = classifier_of(release, probe)
        dataset = with_classes_of(classifier, dataset)
    chosen = _attack_of(attack, steps, step_size, restarts, start, loss)
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).contiguous().float() / 255
    settings: dict[str, Any] = {
        "model": release.config.name,
        "sha256": release.digest,
        "head_sha256": hashlib.sha256(probe_bytes(classifier)).hexdigest(),
        "data": dataset.name,
        "data_sha256": _digest(dataset),
        "attack": attack,
        "steps": steps or STEPS.get(attack, 100),
        "restarts": restarts,
        "settings": [repr(member) for member in members_of(chosen)],
        "norm": norm,
        "eps": epsilons,
        "seed": seed,
    }
    ledger: Ledger
    if state is not None:
        ledger = FileLedger(state, key=settings, images=images.numpy(), radii=len(epsilons))
    else:
        wanted = save is not None or report is not None
        kept = images.numpy()[None].repeat(len(epsilons), 0) if wanted else None
        ledger = Ledger(len(images), adversarial=kept)

    notes = substitutions(chosen, len(dataset.classes))
    if isinstance(classifier.encoder, MultiCrop):
        notes.append(
            f"the head reads the mean over {classifier.encoder.plan.count} crops, the same of "
            "every image; each gradient is that of the mean, so of the expectation over the crops"
        )
    for text in notes:
        output.note(f"note: {text}")
    total = len(images) * len(epsilons) * len(members_of(chosen))

    doubts: list[Doubt] = []

    def show(complete: str) -> None:
        found = accuracies(ledger, chosen, epsilons)
        if json:
            extra = {
                "notes": notes,
                "doubts": [asdict(doubt) for doubt in doubts],
                "completeness": complete,
                **environment(where),
            }
            rows = [attack_results.row_of(r) for r in found]
            output.json_result({**settings, **extra, "results": rows})
        else:
            attack_results.table(found)

    try:
        with output.progress(f"{chosen.name} on {dataset.name}", total) as bar:
            evaluate(
                classifier.to(where),
                images.to(where),
                torch.from_numpy(dataset.labels).to(where),
                classes=len(dataset.classes),
                attack=chosen,
                epsilons=epsilons,
                norm=norm,
                seed=seed,
                batch_size=batch_size or (512 if where.type == "cuda" else 64),
                ledger=ledger,
                advance=bar.advance,
                say=lambda text: output.note(f"note: {text}"),
            )
        with output.progress("checks of the model", None):
            doubts += examine(
                classifier,
                images.to(where),
                torch.from_numpy(dataset.labels).to(where),
                classes=len(dataset.classes),
                eps=epsilons[0],
                norm=norm,
                seed=seed,
            )
    except (ZooError, KeyboardInterrupt):
        if ledger.stages:
            output.note("not all was measured; so far:")
            show("partial")
        if state is not None:
            output.note(f"the same command goes on from {state}")
        raise
    doubts += compare(accuracies(ledger, chosen, epsilons), norm=norm)
    for doubt in doubts:
        output.note(f"warning: {doubt.text}")
    if save is not None:
        from cfamc_zoo.evaluation.saving import save as save_images

        assert ledger.adversarial is not None
        last = members_of(chosen)[-1].name
        verdicts = [ledger.stage(last, part).verdicts == 1 for part in epsilons]
        save_images(
            save,
            ledger.adversarial,
            epsilons=epsilons,
            labels=dataset.labels,
            stands=[v.tolist() for v in verdicts],
        )
    if report is not None:
        attack_results.write_report(
            report,
            classifier,
            dataset,
            ledger,
            accuracies(ledger, chosen, epsilons),
            doubts=doubts,
            settings={**settings, **environment(where)},
            worst=chosen.name,
        )
    if not json:
        output.note(f"{release.config.name} on {dataset.name}, {norm}, {where}")
    show("complete")


def _check_settings(attack: str, steps: int | None, restarts: int, start: str, loss: str) -> None:
    """What can be refused before anything heavy is imported."""
    if start not in ("random", "zero"):
        raise UnknownNameError("start", start, ("random", "zero"))
    if loss not in LOSSES:
        raise UnknownNameError("loss", loss, LOSSES)
    if restarts < 1 or (steps is not None and steps < 1):
        raise UsageError(f"--steps {steps} --restarts {restarts}: both must be at least 1")
    if attack in ENSEMBLES and steps is not None:
        raise UsageError(f"--steps is not for {attack}, whose settings are AutoAttack's own")


def _attack_of(
    name: str, steps: int | None, step_size: str | None, restarts: int, start: str, loss: str
) -> Attack | Ensemble:
    """The attack of that name with these settings."""
    from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
    from cfamc_zoo.evaluation.attacks.ensemble import APGD_ONLY, AUTOATTACK
    from cfamc_zoo.evaluation.attacks.fab import FabTargeted
    from cfamc_zoo.evaluation.attacks.pgd import Pgd
    from cfamc_zoo.evaluation.attacks.square import Square

    n = steps or STEPS.get(name, 100)
    size = parse_epsilon(step_size) if step_size else None
    match name:
        case "pgd":
            return Pgd(n, size, restarts, start, loss)  # type: ignore[arg-type]
        case "apgd":
            return Apgd("ce", n, restarts)
        case "apgd-dlr":
            return Apgd("dlr", n, restarts)
        case "apgd-t":
            return ApgdTargeted(n)
        case "fab":
            return FabTargeted(n)
        case "square":
            return Square(n)
        case "autoattack":
            return AUTOATTACK
    return APGD_ONLY


def _digest(dataset: LabelledImages) -> str:
    content = hashlib.sha256(dataset.images.tobytes())
    content.update(dataset.labels.tobytes())
    return content.hexdigest()
