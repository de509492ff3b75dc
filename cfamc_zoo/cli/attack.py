"""`cfamc-zoo attack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import BatchSize, Device, Json, Limit, Model, Seed
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.threat import parse_epsilon

ATTACKS = ("pgd",)


def attack(
    model: Model = None,
    eps: Annotated[
        str, typer.Option(help="Radius in pixels of [0, 1]; several with commas.")
    ] = "8/255",
    attack: Annotated[str, typer.Option(help="pgd.")] = "pgd",
    steps: Annotated[int, typer.Option(help="Gradient steps of a restart.")] = 20,
    step_size: Annotated[
        str | None, typer.Option(help="Like 1/255. [default: 2.5 eps / steps]")
    ] = None,
    restarts: Annotated[int, typer.Option(help="Independent runs.")] = 1,
    start: Annotated[str, typer.Option(help="random or zero.")] = "random",
    data: Annotated[
        str | None, typer.Option(help="Images and labels. [default: the bundled sample]")
    ] = None,
    probe: Annotated[
        Path | None, typer.Option(help="A head of your own, made by `cfamc-zoo probe`.")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    batch_size: BatchSize = 64,
    json: Json = False,
) -> None:
    """Measure clean and robust accuracy."""
    epsilons = [part.strip() for part in eps.split(",")]
    for part in epsilons:
        parse_epsilon(part)
    if attack not in ATTACKS:
        raise UnknownNameError("attack", attack, ATTACKS)
    if start not in ("random", "zero"):
        raise UnknownNameError("start", start, ("random", "zero"))
    if steps < 1 or restarts < 1:
        raise UsageError(f"--steps {steps} --restarts {restarts}: both must be at least 1")
    size = parse_epsilon(step_size) if step_size else None

    from cfamc_zoo.cli.data import classifier_of, data_of
    from cfamc_zoo.zoo.registry import default_model, resolve

    release = resolve(model or default_model())
    dataset = data_of(release, data).first(limit)
    classifier = classifier_of(release, probe)
    if classifier.classes != dataset.classes:
        raise UsageError(
            f"model {release.config.name!r} knows the classes of {classifier.data}, not those of "
            f"{dataset.name}; give --data {classifier.data} or a --probe for these classes"
        )

    import torch

    from cfamc_zoo.evaluation.attacks.pgd import Pgd
    from cfamc_zoo.evaluation.robustness import environment, evaluate
    from cfamc_zoo.zoo.device import find_device

    where = find_device(device)
    pgd = Pgd(steps=steps, step_size=size, restarts=restarts, start=start)  # type: ignore[arg-type]
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(where).float() / 255
    with output.progress(f"{pgd.name} on {dataset.name}", len(images) * len(epsilons)) as bar:
        results = evaluate(
            classifier.to(where),
            images,
            torch.from_numpy(dataset.labels).to(where),
            classes=len(dataset.classes),
            attack=pgd,
            epsilons=epsilons,
            seed=seed,
            batch_size=batch_size,
            advance=bar.advance,
        )
    if json:
        settings = {
            "model": release.config.name,
            "sha256": release.digest,
            "data": dataset.name,
            "norm": "linf",
            "steps": steps,
            "step_size": size,
            "restarts": restarts,
            "start": start,
            "seed": seed,
            **environment(where),
        }
        rows = [
            {
                "metric": r.metric,
                "attack": r.attack,
                "eps": r.eps,
                "n": r.n,
                "value": r.value,
                "low": r.interval[0],
                "high": r.interval[1],
                "seconds": round(r.seconds, 3),
                "correct": r.correct,
            }
            for r in results
        ]
        output.json_result({**settings, "results": rows})
        return
    output.note(f"{release.config.name} on {dataset.name}, L-infinity, {where}")
    output.table(
        ("metric", "attack", "eps", "%", "95% interval", "images", "seconds"),
        [
            (
                r.metric,
                r.attack or "-",
                r.eps or "-",
                f"{r.value:.2f}",
                f"{r.interval[0]:.2f}..{r.interval[1]:.2f}",
                str(r.n),
                f"{r.seconds:.1f}",
            )
            for r in results
        ],
        right=(3, 5, 6),
    )
