"""PGD-20 at 8/255: this package against torchattacks and foolbox, same model, images and run.

The peers are no dependency of this package. They live in a folder of their own:

    pip install --target PEERS --no-deps torchattacks foolbox eagerpy GitPython
    python benchmarks/attacks.py --peers PEERS [--images 200] [-o FILE]

All three use a random start and the step 2.5 eps / 20. Every verdict is the model's own in
float32 on the images that came back.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.zoo.registry import default_model

EPS, STEPS = 8 / 255, 20
STEP = 2.5 * EPS / STEPS


def ours(model, x, y) -> int:  # type: ignore[no-untyped-def]
    results = evaluate(model, x, y, classes=10, attack=Pgd(steps=STEPS), epsilons=["8/255"])
    return sum(results[1].correct)


def torchattacks(model, x, y) -> int:  # type: ignore[no-untyped-def]
    import torchattacks as peer

    attack = peer.PGD(model, eps=EPS, alpha=STEP, steps=STEPS, random_start=True)
    return standing(model, lambda a, b: attack(a, b), x, y)


def foolbox(model, x, y) -> int:  # type: ignore[no-untyped-def]
    import foolbox as peer

    wrapped = peer.PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = peer.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=True)
    return standing(model, lambda a, b: attack(wrapped, a, b, epsilons=EPS)[1], x, y)


def standing(model, attack: Callable, x, y) -> int:  # type: ignore[no-untyped-def]
    """Batches of 64, as `evaluate` takes them."""
    count = 0
    for i in range(0, len(x), 64):
        adversarial = attack(x[i : i + 64], y[i : i + 64])
        with torch.no_grad():
            clean = model(x[i : i + 64]).argmax(1) == y[i : i + 64]
            robust = model(adversarial).argmax(1) == y[i : i + 64]
        count += int((clean & robust).sum())
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--model", default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    sys.path.append(str(arguments.peers))
    name = arguments.model or default_model()
    model = cfamc_zoo.load_classifier(name)
    data = load_dataset("cifar10-sample").first(arguments.images)
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous().float() / 255
    y = torch.from_numpy(data.labels)

    tools = {"cfamc-zoo": ours, "torchattacks": torchattacks, "foolbox": foolbox}
    seconds: dict[str, list[float]] = {tool: [] for tool in tools}
    robust = {}
    for run in tools.values():  # imports and first-call costs are not counted
        run(model, x[:8], y[:8])
    for _ in range(arguments.repeats):  # in turns, so that a slow moment hits all
        for tool, run in tools.items():
            torch.manual_seed(0)
            start = time.perf_counter()
            robust[tool] = run(model, x, y)
            seconds[tool].append(time.perf_counter() - start)
    best = {tool: min(values) for tool, values in seconds.items()}
    print(
        f"{name}, {len(y)} images, PGD-{STEPS}, L-infinity 8/255, {torch.get_num_threads()} threads"
    )
    for tool in tools:
        ratio = best[tool] / best["cfamc-zoo"]
        print(f"  {tool:14} {best[tool]:7.2f} s  {ratio:5.2f}x   robust {robust[tool]}/{len(y)}")
    if arguments.output:
        result = {
            "model": name,
            "images": len(y),
            "seconds": seconds,
            "robust": robust,
            "ratio": {tool: best[tool] / best["cfamc-zoo"] for tool in tools},
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
