"""`cfamc-zoo probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Device, Json, Limit, Model, Seed
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.spec import FEATURES


def probe(
    model: Model = None,
    data: Annotated[
        str | None, typer.Option(help="Train and test images. [default: the model's own]")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="[default: what the release's own probe reads]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the head here (.safetensors).")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Fit a linear head on frozen features; report its accuracy."""
    if features is not None and features not in FEATURES:
        raise UnknownNameError("feature", features, FEATURES)
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"folder {str(out.parent)!r} does not exist; create it first")

    from cfamc_zoo.datasets import load_dataset
    from cfamc_zoo.zoo.registry import default_model, resolve
    from cfamc_zoo.zoo.weights import PROBE, load_encoder, load_probe

    release = resolve(model or default_model())
    name = data or str(release.config.recipe.get("data", "cifar10"))
    train, test = load_dataset(name, "train").first(limit), load_dataset(name, "test")
    if features is None:
        features = load_probe(release).feature if release.has(PROBE) else "representation"

    import torch

    from cfamc_zoo.evaluation.intervals import wilson
    from cfamc_zoo.evaluation.probe import extract, fit_probe
    from cfamc_zoo.zoo.classifier import Classifier, probe_bytes
    from cfamc_zoo.zoo.device import find_device

    where = find_device(device)
    encoder = load_encoder(release).to(where)
    with output.progress(f"{features} of {name}", len(train) + len(test)) as bar:
        x, held = (
            extract(encoder, part.images, features, device=where, advance=bar.advance)
            for part in (train, test)
        )
    labels = torch.from_numpy(train.labels).to(where)
    with output.progress("fitting", None):
        fitted = fit_probe(x, labels, len(train.classes), seed=seed)
    correct = fitted.head.to(where)(held).argmax(1).cpu() == torch.from_numpy(test.labels)
    low, high = wilson(int(correct.sum()), len(test))
    accuracy = 100 * correct.float().mean().item()
    if out is not None:
        from cfamc_zoo.atomic import atomic_file

        classifier = Classifier(
            encoder, fitted.head, feature=features, classes=train.classes, data=train.name
        )
        with atomic_file(out) as path:
            path.write_bytes(probe_bytes(classifier))
    if json:
        output.json_result(
            {
                "model": release.config.name,
                "sha256": release.digest,
                "data": name,
                "feature": features,
                "train_images": len(train),
                "decay": fitted.decay,
                "held_out_accuracy": {str(k): v for k, v in fitted.held_out.items()},
                "train_accuracy": fitted.train,
                "test_accuracy": accuracy,
                "low": 100 * low,
                "high": 100 * high,
                "n": len(test),
                "seed": seed,
                "output": str(out) if out else None,
            }
        )
        return
    output.table(
        ("feature", "decay", "train %", "test %", "95% interval"),
        [
            (
                features,
                f"{fitted.decay:g}",
                f"{fitted.train:.2f}",
                f"{accuracy:.2f}",
                f"{100 * low:.2f}..{100 * high:.2f}",
            )
        ],
        right=(1, 2, 3),
    )
