"""Attacks of this package against their peers: same model, images and run; verdicts and seconds.

    python benchmarks/attacks.py pgd --peers PEERS [--images 200]
    python benchmarks/attacks.py autoattack --peers PEERS [--images 128] [--state FILE]
    python benchmarks/attacks.py peers --peers PEERS [--images 64] [--state FILE]

`pgd` runs PGD-20 at 8/255 with a random start and the step 2.5 eps / 20 against torchattacks and
foolbox. `autoattack` runs each member of the standard ensemble alone, then the ensemble, against
the public implementation, the two in turns. What has been measured is kept in the state file
after every attack; the same command goes on.
`peers` hands the classifier as it is to each package: RobustBench's `benchmark()` (on our images
in place of its download), foolbox and torchattacks; and prints what each measured beside ours.

The peers are no dependency of this package. They live in a folder of their own. The wheel of
torchattacks holds another top-level `robustbench`, so RobustBench itself has a second one:

    pip install --target PEERS --no-deps torchattacks foolbox eagerpy GitPython gitdb smmap scipy \\
        requests urllib3 idna charset_normalizer certifi
    pip install --target PEERS/real-robustbench --no-deps robustbench timm==1.0.9 gdown \\
        beautifulsoup4 soupsieve geotorch torchdiffeq pandas "setuptools<81"
    git clone https://github.com/fra31/auto-attack PEERS/auto-attack    # at a392200

Every verdict is the model's own in float32 on the images that came back.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from small_models import NAMES, load_small
from torch import Tensor, nn
from turns import in_turns

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.ensemble import AUTOATTACK
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.zoo.catalogue.registry import default_model
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.threat import Linf, threat_of

STEPS = 20
REAL = "real-robustbench"  # a folder of PEERS
MEMBERS = {
    "apgd-ce": Apgd("ce"),
    "apgd-t": ApgdTargeted(),
    "fab-t": FabTargeted(),
    "square": Square(),
}
OFFICIAL_NORMS = {"linf": "Linf", "l2": "L2"}
ENSEMBLE = "autoattack"
TURNS = {"official": 4.0, "ours": 2.0}  # seconds, so that both end at about the same time

Verdicts = list[bool]
Accuracies = tuple[float, float]  # clean and robust, parts of 1
Tool = Callable[[Tensor, Tensor], Verdicts]


class Bench:
    """What was measured once, remembered in a file."""

    def __init__(self, state: Path | None, key: dict[str, Any]):
        self.state, self.key = state, key
        self.done: dict[str, Any] = {}
        if state is not None and state.exists():
            content = json.loads(state.read_text())
            if content["key"] != key:
                raise SystemExit(f"{state} is of another run: {content['key']}")
            self.done = content["done"]

    def once(self, name: str, measure: Callable[[], Any]) -> Any:
        if name not in self.done:
            self.done[name] = measure()
            if self.state is not None:
                temporary = self.state.with_suffix(".tmp")
                temporary.write_text(json.dumps({"key": self.key, "done": self.done}))
                temporary.replace(self.state)
        return self.done[name]


@dataclass(frozen=True)
class Subject:
    """Who is attacked, and on what."""

    model: nn.Module
    data: Examples

    @property
    def x(self) -> Tensor:
        return self.data.images

    @property
    def y(self) -> Tensor:
        return self.data.labels


def load(arguments: argparse.Namespace) -> Subject:
    sys.path.append(str(arguments.peers))
    sys.path.append(str(arguments.peers / "auto-attack"))
    name = arguments.model
    small = name in NAMES
    model = load_small(name, arguments.peers) if small else cfamc_zoo.load_classifier(name)
    data = load_dataset(arguments.data)
    part = slice(arguments.first, arguments.first + arguments.images)
    # The official code needs images in NCHW order in memory.
    x = torch.from_numpy(data.images[part]).permute(0, 3, 1, 2).contiguous().float() / 255
    y = torch.from_numpy(data.labels[part])
    device = arguments.device
    return Subject(model.to(device), Examples(x.to(device), y.to(device), len(data.classes)))


def key_of(arguments: argparse.Namespace) -> dict[str, str]:
    """What results depend on."""
    return {k: str(v) for k, v in vars(arguments).items() if k not in ("state", "output", "peers")}


def command_of(arguments: argparse.Namespace) -> str:
    """What measures the same again, without the files of this machine."""
    given = {k: v for k, v in key_of(arguments).items() if k != "what"}
    options = " ".join(f"--{k} {v or repr(v)}" for k, v in given.items())
    return f"python benchmarks/attacks.py {arguments.what} --peers PEERS {options}"


def standing(model: nn.Module, attack: Callable, x: Tensor, y: Tensor, batch: int) -> Verdicts:
    """Verdicts of the model on what an attack returns, batch by batch."""
    verdicts: Verdicts = []
    for i in range(0, len(x), batch):
        images, labels = x[i : i + batch], y[i : i + batch]
        adversarial = attack(images, labels)
        with torch.no_grad():
            clean = model(images).argmax(1) == labels
            verdicts += (clean & (model(adversarial).argmax(1) == labels)).tolist()
    return verdicts


def pgd_of(arguments: argparse.Namespace, subject: Subject) -> dict[str, Tool]:
    """The same PGD from three packages, on any images."""
    model = subject.model
    eps = Linf.of(arguments.eps).eps
    step = 2.5 * eps / STEPS

    def ours(x: Tensor, y: Tensor) -> Verdicts:
        part = Subject(model, Examples(x, y, subject.data.classes))
        return our_verdicts(arguments, part, Pgd(steps=STEPS))

    def torchattacks(x: Tensor, y: Tensor) -> Verdicts:
        import torchattacks as peer

        attack = peer.PGD(model, eps=eps, alpha=step, steps=STEPS, random_start=True)
        return standing(model, attack, x, y, arguments.batch)

    def foolbox(x: Tensor, y: Tensor) -> Verdicts:
        import foolbox as peer

        wrapped = peer.PyTorchModel(model, bounds=(0, 1), device=x.device)
        attack = peer.attacks.LinfPGD(abs_stepsize=step, steps=STEPS, random_start=True)
        return standing(
            model, lambda a, b: attack(wrapped, a, b, epsilons=eps)[1], x, y, arguments.batch
        )

    return {"cfamc-zoo": ours, "torchattacks": torchattacks, "foolbox": foolbox}


def our_verdicts(arguments: argparse.Namespace, subject: Subject, attack: Any) -> Verdicts:
    threat = threat_of(arguments.norm, arguments.eps)
    run = Run(batch_size=arguments.batch)
    rows = evaluate(subject.model, subject.data, attack, [threat], run)
    return [bool(c) for c in rows[-1].correct]


def compare_pgd(arguments: argparse.Namespace, subject: Subject) -> dict:
    tools = pgd_of(arguments, subject)
    x, y = subject.x, subject.y
    seconds: dict[str, list[float]] = {tool: [] for tool in tools}
    robust = {}
    for run in tools.values():  # imports and first-call costs are not counted
        run(x[:8], y[:8])
    for _ in range(arguments.repeats):  # in turns, so that a slow moment hits all
        for tool, run in tools.items():
            torch.manual_seed(0)
            start = time.perf_counter()
            robust[tool] = sum(run(x, y))
            seconds[tool].append(time.perf_counter() - start)
    best = {tool: min(values) for tool, values in seconds.items()}
    ratio = {tool: best[tool] / best["cfamc-zoo"] for tool in tools}
    for tool in tools:
        print(
            f"  {tool:14} {best[tool]:8.2f} s  {ratio[tool]:5.2f}x   robust {robust[tool]}/{len(y)}"
        )
    return {"seconds": seconds, "robust": robust, "ratio": ratio}


def official_autoattack(arguments: argparse.Namespace, name: str) -> Callable[[], Verdicts]:
    """The public code's attack of that name, ready to run."""
    subject = load(arguments)
    from autoattack import AutoAttack

    attack = AutoAttack(
        subject.model,
        norm=OFFICIAL_NORMS[arguments.norm],
        eps=threat_of(arguments.norm, arguments.eps).eps,
        seed=0,
        verbose=False,
        device=subject.x.device.type,
        version="standard",
    )
    attack.attacks_to_run = list(MEMBERS) if name == ENSEMBLE else [name]

    def run() -> Verdicts:
        found = attack.run_standard_evaluation(subject.x, subject.y, bs=arguments.batch)
        return standing(subject.model, lambda a, b: a, found, subject.y, arguments.batch)

    return run


def our_autoattack(arguments: argparse.Namespace, name: str) -> Callable[[], Verdicts]:
    """Ours of that name, ready to run."""
    attack = AUTOATTACK if name == ENSEMBLE else MEMBERS[name]
    return partial(our_verdicts, arguments, load(arguments), attack)


def compare_autoattack(arguments: argparse.Namespace, subject: Subject) -> dict:
    bench = Bench(arguments.state, key_of(arguments))
    print(f"  {'':12} {'robust %':>17} {'seconds':>19} {'':7} same verdict")
    print(f"  {'':12} {'official':>8} {'ours':>8} {'official':>10} {'ours':>8}")
    rows = {}
    names = [n for n in arguments.attacks.split(",") if n]
    n = len(subject.y)
    for name in [*names, ENSEMBLE]:
        sides = {
            "official": (partial(official_autoattack, arguments, name), TURNS["official"]),
            "ours": (partial(our_autoattack, arguments, name), TURNS["ours"]),
        }
        found = bench.once(name, lambda s=sides: in_turns(s))  # type: ignore[misc]
        (theirs, their_seconds), (ours, our_seconds) = found["official"], found["ours"]
        r = rows[name] = {
            "official": 100 * sum(theirs) / n,
            "ours": 100 * sum(ours) / n,
            "official_seconds": their_seconds,
            "ours_seconds": our_seconds,
            "ratio": their_seconds / our_seconds,
            "same_verdict": 100 * sum(p == q for p, q in zip(theirs, ours, strict=True)) / n,
        }
        print(
            f"  {name:12} {r['official']:8.2f} {r['ours']:8.2f} {r['official_seconds']:10.1f} "
            f"{r['ours_seconds']:8.1f} {r['ratio']:6.2f}x {r['same_verdict']:6.2f}%",
            flush=True,
        )
    return rows


def robustbench_of(arguments: argparse.Namespace, subject: Subject) -> Accuracies:
    """RobustBench's `benchmark()`, on our images in place of its download."""
    # Before PEERS, which holds torchattacks' package of the same name.
    sys.path.insert(sys.path.index(str(arguments.peers)), str(arguments.peers / REAL))
    import robustbench.data as loading
    from robustbench.eval import benchmark

    x, y = subject.x, subject.y
    data = loading.BenchmarkDataset(arguments.data.removesuffix("-sample"))
    loading._clean_dataset_loaders[data] = lambda n, folder, transform: (x[:n], y[:n])
    return benchmark(
        subject.model,
        n_examples=len(x),
        dataset=data.value,
        threat_model=OFFICIAL_NORMS[arguments.norm],
        eps=threat_of(arguments.norm, arguments.eps).eps,
        batch_size=arguments.batch,
        device=x.device,
    )


def foolbox_of(arguments: argparse.Namespace, subject: Subject) -> Accuracies:
    """foolbox's own measures of both accuracies."""
    import foolbox as peer

    x, y, eps = subject.x, subject.y, Linf.of(arguments.eps).eps
    wrapped = peer.PyTorchModel(subject.model, bounds=(0, 1), device=x.device)
    attack = peer.attacks.LinfPGD(abs_stepsize=2.5 * eps / STEPS, steps=STEPS)
    _, _, fell = attack(wrapped, x, y, epsilons=eps)
    return peer.utils.accuracy(wrapped, x, y), 1 - fell.float().mean().item()


def timed(run: Callable[[], Accuracies]) -> dict[str, float]:
    torch.manual_seed(0)
    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        clean, robust = run()
    seconds = time.perf_counter() - start
    return {"clean": 100 * clean, "robust": 100 * robust, "seconds": seconds}


def compare_peers(arguments: argparse.Namespace, subject: Subject) -> dict:
    """Clean and robust accuracy as each package measures them on the unchanged classifier."""
    x, y = subject.x, subject.y
    pgd = pgd_of(arguments, subject)

    def beside_clean(verdicts: Callable[[], Verdicts]) -> Accuracies:
        with torch.no_grad():
            clean = (subject.model(x).argmax(1) == y).float().mean().item()
        found = verdicts()
        return clean, sum(found) / len(found)

    ensemble = partial(our_verdicts, arguments, subject, AUTOATTACK)
    tools: dict[str, Callable[[], Accuracies]] = {
        f"cfamc-zoo PGD-{STEPS}": partial(beside_clean, partial(pgd["cfamc-zoo"], x, y)),
        f"foolbox LinfPGD-{STEPS}": partial(foolbox_of, arguments, subject),
        f"torchattacks PGD-{STEPS}": partial(beside_clean, partial(pgd["torchattacks"], x, y)),
        "cfamc-zoo AutoAttack": partial(beside_clean, ensemble),
        "RobustBench benchmark()": partial(robustbench_of, arguments, subject),
    }
    bench = Bench(arguments.state, key_of(arguments))
    rows = {}
    print(f"  {'':24} {'clean %':>8} {'robust %':>9} {'images':>7} {'seconds':>8}")
    for name, run in tools.items():
        r = rows[name] = bench.once(name, partial(timed, run))
        print(
            f"  {name:24} {r['clean']:8.2f} {r['robust']:9.2f} {len(y):7} {r['seconds']:8.1f}",
            flush=True,
        )
    return rows


COMPARISONS = {"pgd": compare_pgd, "autoattack": compare_autoattack, "peers": compare_peers}
ORDERS = {
    "pgd": "each package several times, in turns",
    "autoattack": f"in turns of {TURNS['official']:g} and {TURNS['ours']:g} seconds",
    "peers": "one after the other",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tuple(COMPARISONS))
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="skip so many images")
    parser.add_argument(
        "--model", default=None, help=f"a name, a release folder, or a network of others: {NAMES}"
    )
    parser.add_argument("--data", default="cifar10-sample")
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--norm", default="linf", choices=tuple(OFFICIAL_NORMS))
    parser.add_argument("--attacks", default=",".join(MEMBERS), help="also alone; '' for none")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="of pgd")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--state", type=Path, help="of autoattack and peers")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    arguments.model = arguments.model or default_model()
    subject = load(arguments)
    n = len(subject.y)
    print(
        f"{arguments.model}, {n} images, {arguments.norm} {arguments.eps}, {arguments.device}, "
        f"{torch.get_num_threads()} threads"
    )
    rows = COMPARISONS[arguments.what](arguments, subject)
    if arguments.output:
        result = {
            "what": arguments.what,
            "model": arguments.model,
            "images": n,
            "eps": arguments.eps,
            "norm": arguments.norm,
            "threads": torch.get_num_threads(),
            "order": ORDERS[arguments.what],
            **environment(subject.x.device),
            "command": command_of(arguments),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
