"""Ideas for training, each tried for the same time on a small network.

    python tools/research.py views-8 averaged --seed 0
    python tools/research.py --list

One thread. A tenth of the training images is held out and measured; the test split is not read.
Time is counted in batches of the first idea: what a batch of another one costs is found by running
some of both in turn, so that a schedule ends with its time and other work changes nothing.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from cfamc_zoo.allocator import keep_freed_memory  # noqa: E402
from cfamc_zoo.atomic import atomic_file  # noqa: E402
from cfamc_zoo.datasets import LabelledImages, load_dataset  # noqa: E402
from cfamc_zoo.evaluation.attacks.pgd import Pgd  # noqa: E402
from cfamc_zoo.evaluation.examples import Examples  # noqa: E402
from cfamc_zoo.evaluation.heads.linear import extract, fit_probe, network_input  # noqa: E402
from cfamc_zoo.evaluation.robustness import evaluate  # noqa: E402
from cfamc_zoo.training.engine import Engine  # noqa: E402
from cfamc_zoo.training.loop import train  # noqa: E402
from cfamc_zoo.training.recipe import FreeAdversary, Recipe, load_recipe  # noqa: E402
from cfamc_zoo.training.start import Start  # noqa: E402
from cfamc_zoo.training.teacher import Teacher  # noqa: E402
from cfamc_zoo.zoo.device import environment  # noqa: E402
from cfamc_zoo.zoo.images.preprocess import fit_all  # noqa: E402
from cfamc_zoo.zoo.network.classifier import Classifier  # noqa: E402
from cfamc_zoo.zoo.network.encoder import Encoder  # noqa: E402
from cfamc_zoo.zoo.network.spec import Preprocess  # noqa: E402
from cfamc_zoo.zoo.threat import Linf, Threat  # noqa: E402

DATA = "cifar10"
HELD_OUT = 5000  # training images
ATTACKED = 1000  # of those
LABELLED = 20_000  # training images that the head is fitted to
EPS = ("4/255", "8/255")
DECAY = 0.1  # of the head: what the released thin encoder's was chosen to be
TRIED = 5  # batches, to see what one costs
CPU = torch.device("cpu")
OUT = ROOT / "docs/research"
# Of the first idea, to see what one of its batches takes: any images do.
UNIT = np.random.default_rng(0).integers(0, 256, (250, 32, 32, 3), np.uint8)
Rows = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Stage:
    """A part of the time: a recipe, which goes on from the network of the stage before, and learns
    from that where it has a teacher."""

    recipe: str
    settings: tuple[str, ...] = ()
    share: float = 1.0  # of the time


@dataclass(frozen=True)
class Idea:
    """What is tried.

    Attributes:
        text: what it is.
        expected: why it might help, before it was tried.
        stages: one after the other; their shares add up to 1.
        feature: what the head reads.
        shared: whether all crops of an image have one perturbation.
    """

    text: str
    expected: str
    stages: tuple[Stage, ...]
    feature: str = "representation"
    shared: bool = False


THIN = ("encoder.width=16", "encoder.representation=1024", "encoder.projection=1024")


def crops(text: str, expected: str, *settings: str, shared: bool = False) -> Idea:
    """CF-AMC-SSL as the thin encoder has it, but for some settings."""
    stage = Stage("cf-amc-ssl-thin", ("optimizer.schedule=cosine", *settings))
    return Idea(text, expected, (stage,), shared=shared)


def taught(text: str, expected: str, recipe: str, *settings: str) -> Idea:
    """A standard encoder first, which then teaches."""
    standard = ("views.count=4", "optimizer.schedule=cosine")
    return Idea(
        text,
        expected,
        (
            Stage("emp-standard", (*THIN, *standard), share=1 / 3),
            Stage(recipe, (*THIN, *settings), share=2 / 3),
        ),
        feature="backbone",
    )


SMALL = 24  # pixels
BASE = "views-8"  # what the others are compared with
IDEAS: Mapping[str, Idea] = {
    BASE: crops("8 views, batches of 50, 3 replays", "what the thin encoder has"),
    "views-16": crops(
        "16 views, batches of 100: the paper's",
        "steadier gradients, a quarter of the updates",
        "views.count=16",
        "batch_size=100",
    ),
    "views-4": crops(
        "4 views, batches of 100",
        "twice the images for the same crops, which EMP-SSL trades for speed",
        "views.count=4",
        "batch_size=100",
    ),
    "replays-2": crops("2 replays", "half as many new crops again", "adversary.replays=2"),
    "replays-4": crops("4 replays", "stronger perturbations, fewer crops", "adversary.replays=4"),
    "averaged": crops("averaged weights, decay 0.95", "steadier weights", "averaging=0.95"),
    "warm-up": crops(
        "rate 0.6 after a warm-up of a tenth",
        "a short run is over before a low rate has gone far",
        "optimizer.lr=0.6",
        "optimizer.warmup=0.1",
    ),
    "small-first": Idea(
        f"two thirds of the time at {SMALL} pixels, then 32",
        "nearly twice the batches while details do not matter yet",
        (
            Stage("cf-amc-ssl-thin", ("optimizer.schedule=cosine", f"size={SMALL}"), share=2 / 3),
            Stage("cf-amc-ssl-thin", ("optimizer.schedule=cosine", "optimizer.lr=0.15"), 1 / 3),
        ),
    ),
    "shared": crops(
        "one perturbation for all views of an image",
        "what moves all views together is what an attacker would use",
        shared=True,
    ),
    "robustify-pgd": taught(
        "a standard teacher, then robustify by 10-step PGD (rate 1e-3)",
        "the clean vectors are there already; the attack is dear",
        "robustify-pgd",
        "optimizer.lr=1e-3",
    ),
    "robustify-free": taught(
        "a standard teacher, then robustify by free replays (rate 1e-3)",
        "the same at a fraction of the cost",
        "robustify-free",
        "optimizer.lr=1e-3",
    ),
    "deacl": taught("a standard teacher, then DeACL", "the published way", "deacl"),
    "profeat": taught(
        "a standard teacher, then ProFeAT", "the published way, with its projector", "profeat"
    ),
    "scratch": Idea(
        "CF-AMC-SSL from scratch",
        "no teacher to pay for",
        (Stage("cf-amc-ssl-thin", ("optimizer.schedule=cosine",)),),
        feature="backbone",
    ),
}


@dataclass(frozen=True)
class Shared(Linf):
    """Perturbations that all views of an image have in common, up to where [0, 1] clips them."""

    views: int = 1

    def steepest(self, gradient: Tensor) -> Tensor:
        together = gradient.unflatten(0, (self.views, -1)).sum(0)
        return super().steepest(together).repeat(self.views, 1, 1, 1)


@dataclass(frozen=True)
class SharedFree(FreeAdversary):
    """Free replays of `Shared`."""

    views: int = 1

    @property
    def threat(self) -> Threat:
        plain = super().threat
        return Shared(plain.eps, plain.text, self.views)


@dataclass(frozen=True)
class Trial:
    """An idea with a seed, for the time of so many batches of the first idea.

    Its runs are kept in a folder. A stage that another idea shares is trained once; what it took
    counts for both.
    """

    idea: Idea
    seed: int
    batches: int
    runs: Path

    def recipe(self, stage: Stage) -> Recipe:
        recipe = load_recipe(stage.recipe, [*stage.settings, f"seed={self.seed}"])
        if not self.idea.shared:
            return recipe
        assert isinstance(recipe.adversary, FreeAdversary)
        own = SharedFree(**asdict(recipe.adversary), views=recipe.views.count)
        return replace(recipe, adversary=own)

    def train(self, images: np.ndarray) -> tuple[Encoder, list[dict[str, Any]]]:
        """All stages: the last network, and what each was."""
        before: Encoder | None = None
        told: list[dict[str, Any]] = []
        for stage in self.idea.stages:
            recipe = self.recipe(stage)
            sized = fit_all(images, Preprocess(size=recipe.size))
            key = hashlib.sha256(repr((recipe, stage.share, self.batches, told)).encode())
            run = self.runs / f"{stage.recipe}-{key.hexdigest()[:12]}"
            run.mkdir(parents=True, exist_ok=True)
            before, what = trained(recipe, sized, run, before, self.batches * stage.share)
            told.append({"recipe": stage.recipe, "settings": stage.settings, **what})
        assert before is not None
        return before, told


def trained(
    recipe: Recipe, images: np.ndarray, run: Path, before: Encoder | None, time: float
) -> tuple[Encoder, dict[str, Any]]:
    """One stage, its cosine as long as its time, and how much that was.

    Args:
        images: (N, S, S, 3) uint8, of which it sees as many as it has time for.
        run: folder; what lies there already is not trained again.
        before: the network to start from, and to learn from.
        time: in batches of the first idea.
    """
    plan = run / "plan.json"
    if not plan.exists():
        cost = price(recipe, images, before, run.name)
        steps = max(1, int(time / cost))
        epochs = math.ceil(steps * recipe.batch_size / len(images))
        plan.write_text(json.dumps({"price": cost, "steps": steps, "epochs": epochs}))
    planned = json.loads(plan.read_text())
    epochs = planned["epochs"]
    recipe = replace(recipe, epochs=epochs, checkpoint_steps=1_000_000)
    seen = images[: planned["steps"] // epochs * recipe.batch_size]
    result = train(
        recipe,
        seen,
        run,
        device=CPU,
        report=lambda line: print(run.name, line.step, line.steps, f"{line.loss:.1f}", flush=True),
        start=start_of(before),
        teacher=teacher_of(recipe, before, run.name),
    )
    assert result.encoder is not None
    return result.encoder.eval(), {"batches": result.step, "price": round(planned["price"], 4)}


def price(recipe: Recipe, images: np.ndarray, before: Encoder | None, name: str) -> float:
    """What a batch costs, in batches of the first idea.

    The two are run in turn: what else the machine does makes both slower alike.

    Args:
        images: (N, S, S, 3) uint8 of the recipe's size.
    """
    start = start_of(before)
    own = Engine(
        recipe, images, CPU, start.encoder if start else None, teacher_of(recipe, before, name)
    )
    (stage,) = IDEAS[BASE].stages
    base = Engine(load_recipe(stage.recipe, stage.settings), UNIT, CPU)
    took = [[seconds(engine, number) for engine in (own, base)] for number in range(TRIED)]
    ours, theirs = np.median(took, axis=0)
    return float(ours / theirs)


def seconds(engine: Engine, number: int) -> float:
    """Of a processor, for one batch."""
    begun = time.process_time()
    engine.step(number)
    return time.process_time() - begun


def start_of(before: Encoder | None) -> Start | None:
    return None if before is None else Start(copy.deepcopy(before), {})


def teacher_of(recipe: Recipe, before: Encoder | None, name: str) -> Teacher | None:
    """The network of the stage before, where there is something to learn from it."""
    if before is None or not recipe.objective.taught:
        return None
    return Teacher(copy.deepcopy(before).eval().requires_grad_(False), name, name)


def measured(encoder: Encoder, feature: str, train: LabelledImages, test: LabelledImages) -> Rows:
    """Percent of the held-out images: clean of all, then of those that are attacked."""
    train = train.first(LABELLED)
    labels = torch.from_numpy(train.labels)
    features = extract(encoder, train.images, feature, device=CPU)
    head = fit_probe(features, labels, len(train.classes), decays=(DECAY,)).head
    model = Classifier(encoder, head, feature=feature, classes=train.classes, data=DATA).eval()
    seen = extract(encoder, test.images, feature, device=CPU)
    right = head(seen).argmax(1) == torch.from_numpy(test.labels)
    few = test.first(ATTACKED)
    data = Examples(network_input(few.images, CPU), torch.from_numpy(few.labels), len(test.classes))
    threats = [Linf.of(eps) for eps in EPS]
    _, *robust = evaluate(model, data, Pgd(steps=20), threats)
    return {
        "clean": {"value": 100 * right.float().mean().item(), "n": len(test)},
        **{row.eps: {"value": row.value, "n": row.n} for row in robust},
    }


def split() -> tuple[LabelledImages, LabelledImages]:
    """Training images that are trained on, and those that are held out."""
    whole = load_dataset(DATA, "train")
    order = np.random.default_rng(0).permutation(len(whole))

    def part(rows: np.ndarray) -> LabelledImages:
        return replace(whole, images=whole.images[rows], labels=whole.labels[rows])

    return part(order[:-HELD_OUT]), part(order[-HELD_OUT:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ideas", nargs="*", metavar="IDEA")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=150, help="of the first idea: the time")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/research")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name}: {idea.text}" for name, idea in IDEAS.items()))
        return
    torch.set_num_threads(1)
    keep_freed_memory()
    train_images, held_out = split()
    for name in arguments.ideas:
        trial = Trial(IDEAS[name], arguments.seed, arguments.batches, arguments.runs)
        encoder, stages = trial.train(train_images.images)
        found = {
            "idea": name,
            "text": trial.idea.text,
            "expected": trial.idea.expected,
            "seed": trial.seed,
            "time": arguments.batches,
            "stages": stages,
            "feature": trial.idea.feature,
            "percent": measured(encoder, trial.idea.feature, train_images, held_out),
            "command": f"python tools/research.py {name} --seed {trial.seed} "
            f"--batches {arguments.batches}",
            **environment(CPU),
        }
        OUT.mkdir(exist_ok=True)
        with atomic_file(OUT / f"{name}-{trial.seed}.json") as path:
            path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(name, found["percent"], flush=True)


if __name__ == "__main__":
    main()
