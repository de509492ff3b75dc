"""`cfamc-zoo edits`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_measured
from cfamc_zoo.cli.options import AttackBatch, Device, Json, Limit, Measured, Seed, Threads
from cfamc_zoo.zoo.threat import NORMS, norm_called

EXAMPLES = (
    "cfamc-zoo edits --limit 200",
    "cfamc-zoo edits --data images/ --kinds jpeg,blur --report edits.html",
)


def edits(
    model: Measured = None,
    data: Annotated[
        str | None,
        typer.Option(help="Images; labels are not needed. [default: the bundled sample]"),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Some of jpeg, resize, crop, brightness, contrast, blur, noise. [default: all]"
        ),
    ] = None,
    eps: Annotated[
        str | None,
        typer.Option(help="Beside them, an adversary of this radius; several with commas."),
    ] = None,
    norm: Annotated[str, typer.Option(help=f"Of the adversary: {', '.join(NORMS)}.")] = "linf",
    steps: Annotated[int | None, typer.Option(help="Of the adversary. [default: 20]")] = None,
    features: Annotated[
        str, typer.Option(help="backbone, representation or projection.")
    ] = "backbone",
    distance: Annotated[str, typer.Option(help="Of two vectors: l2 or cosine.")] = "l2",
    report: Annotated[
        Path | None, typer.Option(help="Write a page with bars and pictures here (.html).")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    batch_size: AttackBatch = None,
    json: Json = False,
) -> None:
    """Measure how far ordinary edits move an encoder's vectors."""
    from cfamc_zoo.evaluation.attacks.choice import FEATURE, Choice
    from cfamc_zoo.evaluation.edits.table import edits_called
    from cfamc_zoo.evaluation.edits_assessment import EditTerms, measure_edits
    from cfamc_zoo.evaluation.heads.classifiers import plain_encoder
    from cfamc_zoo.evaluation.outputs import check_path
    from cfamc_zoo.evaluation.plan import Asked
    from cfamc_zoo.evaluation.reports.facts import card_of
    from cfamc_zoo.evaluation.subject import measured_images
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.zoo.device import find_device

    norm_kind, names = norm_called(norm), edits_called(kinds)
    given = {"distance": distance, **({} if steps is None else {"steps": steps})}
    attack = Choice(FEATURE, given, norm_kind).feature_attack()
    threats = [norm_kind.of(part) for part in eps.split(",")] if eps is not None else []
    terms = EditTerms(names, attack, threats, features, seed, batch_size)
    if report is not None:
        check_path(report, (".html",))
    use_threads(threads)
    release = open_measured(model)
    release.config.architecture.dimension(features)
    dataset = measured_images(release, data, limit=limit, seed=seed, say=output.note)
    encoder = plain_encoder(release).to(find_device(device))
    name = release.config.name
    asked = Asked(model, data, features=features, limit=limit)
    words = ["cfamc-zoo", "edits", *asked.options(name, dataset.name), "--kinds", ",".join(names)]
    words += ["--distance", distance, "--seed", str(seed)]
    if eps is not None:
        words += ["--eps", eps, "--norm", norm, "--steps", str(attack.steps)]
    facts = {
        "model": name,
        "sha256": release.digest,
        "data": dataset.name,
        "data_sha256": dataset.digest,
        "rows": dataset.rows,
    }
    with output.progress(f"edits of {dataset.name}", terms.strengths * len(dataset)) as bar:
        found = measure_edits(
            encoder,
            dataset.images,
            terms,
            facts,
            bar.advance,
            command=shlex.join(words),
            card=card_of(model, release),
        )
    for text in found.notes:
        output.note(f"note: {text}")
    if report is not None:
        found.report(report)
    if json:
        output.json_result(found.to_json())
        return
    output.note(
        f"{features} of {name} on {len(dataset):,} images of {dataset.name}, edited at "
        f"{release.config.preprocess.size} x {release.config.preprocess.size} pixels"
    )
    output.note(
        "pixels: root mean square of their change, of 255; moved: how far the median vector moves, "
        "of the distance of a typical pair of images; worst: nine in ten move less; quantile: the "
        "part of all pairs that are at most so far apart; top-1: how often a search with the "
        "edited image finds the image"
    )
    headers, rows, right = found.table()
    output.table(headers, rows, right=right)
