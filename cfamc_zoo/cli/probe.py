"""`cfamc-zoo probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Device, Json, Limit, Model, Seed, Threads
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.spec import FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from cfamc_zoo.datasets import LabelledImages
    from cfamc_zoo.zoo.encoder import Encoder
    from cfamc_zoo.zoo.multicrop import MultiCrop
    from cfamc_zoo.zoo.weights import Release

HEADS = ("linear", "published")
SELECTIONS = ("clean", "robust")
ATTACKED = 1000  # held-out images that are attacked for --select robust


def probe(
    model: Model = None,
    data: Annotated[
        str | None, typer.Option(help="Train and test images. [default: the model's own]")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="[default: what the release's own probe reads]")
    ] = None,
    head: Annotated[
        str, typer.Option(help="linear, or published: the paper's script's schedule.")
    ] = "linear",
    select: Annotated[
        str, typer.Option(help="What held-out training images choose a head by: clean or robust.")
    ] = "clean",
    crops: Annotated[
        int | None, typer.Option(min=1, help="Mean of so many crops. [default: the whole image]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the head here (.safetensors).")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Fit a linear head on frozen features; report its accuracy."""
    if features is not None and features not in FEATURES:
        raise UnknownNameError("feature", features, FEATURES)
    if head not in HEADS:
        raise UnknownNameError("head", head, HEADS)
    if select not in SELECTIONS:
        raise UnknownNameError("selection", select, SELECTIONS)
    if head == "published" and select != "clean":
        raise UsageError("--select is for --head linear; the published schedule chooses nothing")
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"folder {str(out.parent)!r} does not exist; create it first")

    from cfamc_zoo.cli.data import reader_of
    from cfamc_zoo.datasets import load_dataset
    from cfamc_zoo.zoo.weights import PROBE, load_probe

    release = open_model(model)
    name = data or str(release.config.recipe.get("data", "cifar10"))
    train, test = load_dataset(name, "train").first(limit), load_dataset(name, "test")
    if features is None:
        features = load_probe(release).feature if release.has(PROBE) else "representation"

    import torch

    from cfamc_zoo.evaluation.intervals import wilson
    from cfamc_zoo.evaluation.probe import extract, fit_probe
    from cfamc_zoo.evaluation.published import EPOCHS, fit_published_head
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.zoo.classifier import Classifier, probe_bytes
    from cfamc_zoo.zoo.device import find_device
    from cfamc_zoo.zoo.multicrop import MultiCrop

    use_threads(threads)
    where = find_device(device)
    reader = reader_of(release, crops, seed).to(where)
    plan = reader.plan if isinstance(reader, MultiCrop) else None
    with output.progress(f"{features} of {name}", len(train) + len(test)) as bar:
        x, held = (
            extract(reader, part.images, features, device=where, advance=bar.advance)
            for part in (train, test)
        )
    labels = torch.from_numpy(train.labels).to(where)
    chosen: dict[str, object] = {}
    if head == "published":
        with output.progress("fitting", len(train) * len(EPOCHS)) as bar:
            fitted = fit_published_head(
                reader,
                features,
                train.images,
                x,
                labels,
                len(train.classes),
                seed=seed,
                advance=bar.advance,
            )
    else:
        with output.progress("fitting", None):
            best = fit_probe(
                x,
                labels,
                len(train.classes),
                seed=seed,
                robust=_robust(release, reader, features, train) if select == "robust" else None,
            )
        fitted = best.head
        chosen = {
            "select": select,
            "decay": best.decay,
            "held_out_accuracy": {str(k): v for k, v in best.held_out.items()},
            "held_out_robust_accuracy": {str(k): v for k, v in best.held_out_robust.items()},
        }
    on_train = 100 * (fitted(x).argmax(1) == labels).float().mean().item()
    correct = fitted(held).argmax(1).cpu() == torch.from_numpy(test.labels)
    low, high = wilson(int(correct.sum()), len(test))
    accuracy = 100 * correct.float().mean().item()
    if out is not None:
        from cfamc_zoo.atomic import atomic_file

        classifier = Classifier(
            reader, fitted, feature=features, classes=train.classes, data=train.name
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
                "head": head,
                "crops": plan.to_json() if plan else None,
                "train_images": len(train),
                **chosen,
                "train_accuracy": on_train,
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
        ("feature", "head", "crops", "train %", "test %", "95% interval"),
        [
            (
                features,
                f"{head}, decay {chosen['decay']}" if chosen else head,
                str(crops or "-"),
                f"{on_train:.2f}",
                f"{accuracy:.2f}",
                f"{100 * low:.2f}..{100 * high:.2f}",
            )
        ],
        right=(2, 3, 4),
    )


def _robust(
    release: Release, reader: Encoder | MultiCrop, feature: str, train: LabelledImages
) -> Callable[[nn.Linear, Tensor], float]:
    """Accuracy of a head under PGD-10 at the radius that the encoder was trained against."""
    import torch

    from cfamc_zoo.evaluation.attacks.pgd import Pgd
    from cfamc_zoo.evaluation.robustness import evaluate
    from cfamc_zoo.zoo.classifier import Classifier

    eps = release.config.threat_model.get("eps", "8/255")

    def measure(head: nn.Linear, held: Tensor) -> float:
        chosen = held[:ATTACKED].cpu().numpy()
        where = head.weight.device
        images = torch.from_numpy(train.images[chosen]).to(where).permute(0, 3, 1, 2) / 255
        _, robust = evaluate(
            Classifier(reader, head, feature=feature, classes=train.classes, data=train.name),
            images,
            torch.from_numpy(train.labels[chosen]).to(where),
            classes=len(train.classes),
            attack=Pgd(steps=10),
            epsilons=[eps],
        )
        return robust.value

    return measure
