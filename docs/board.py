"""What docs/leaderboard.html and the head of docs/results.md show: ours beside what was published.

A published row is a line of docs/paper.json or docs/published.json; ours come from docs/runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cfamc_zoo.datasets import NAMED
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.training.cost import flop_per_pass, passes_per_image
from cfamc_zoo.training.recipe import Recipe, load_recipe, recipe_from_json
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, Rows, accuracies, headline, partial_images

TRAINING_IMAGES = 50_000  # of either CIFAR set
RADIUS, ENSEMBLE = "8/255", "AutoAttack"
PGD = ("4/255", RADIUS)
# What is measured of every encoder, by the name of its column.
COLUMNS = {"": "clean", **{eps: f"PGD {eps}" for eps in PGD}, ENSEMBLE: f"{ENSEMBLE} {RADIUS}"}
OURS = (
    f"Measured here: {OWN_PROTOCOL}; on the whole test split where nothing else is said, in float32"
)
LEFT_OUT = (
    "Common corruptions are left out: the package that makes them (imagecorruptions) was last "
    "released in 2020 and does not run with today's numpy and scikit-image."
)


@dataclass(frozen=True)
class Measured:
    """An accuracy in percent; its 95% interval where that is known; on which images, if few."""

    value: float
    low: float | None = None
    high: float | None = None
    images: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.value:.2f}", self.interval, self.images)))

    @property
    def interval(self) -> str:
        return "" if self.low is None else f"({self.low:.2f}–{self.high:.2f})"


@dataclass(frozen=True)
class Entry:
    """An encoder.

    Attributes:
        accuracy: by the keys of COLUMNS.
        pretraining: how long it took, in words.
        flop: of pretraining; None where nothing is known of it.
        least: whether it took more than that.
    """

    name: str
    accuracy: Mapping[str, Measured]
    pretraining: str
    flop: float | None
    least: bool = False

    @property
    def computed(self) -> str:
        """Of pretraining, in words."""
        if self.flop is None:
            return "-"
        amount = self.flop / 1e15
        number = f"{amount:,.0f}" if amount >= 10 else f"{amount:.1g}"
        return f"{'over ' * self.least}{number} PFLOP"

    @property
    def strongest(self) -> float:
        """The accuracy under the strongest attack at 8/255 that it was measured under."""
        found = [self.accuracy[key].value for key in (ENSEMBLE, RADIUS) if key in self.accuracy]
        return found[0] if found else -1.0


@dataclass(frozen=True)
class Group:
    """Encoders that were measured in the same way; `protocol` says who measured them, and how."""

    protocol: str
    ours: bool
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Use:
    """What else is known of an encoder of ours, as it is written; "-" is not measured."""

    name: str
    neighbours: str
    transfer: str
    image: str
    rate: str
    parameters: str
    megabytes: str


@dataclass(frozen=True)
class Section:
    """One data set: groups of encoders, ours first, and what else is known of ours."""

    data: str
    groups: Sequence[Group]
    uses: Sequence[Use]


def sections(trained: Sequence[dict[str, Any]], docs: Path) -> list[Section]:
    """The board.

    Args:
        trained: as `generate.runs` has them.
        docs: the folder docs/.
    """
    found = []
    for data in dict.fromkeys([*NAMED, *(run["recipe"]["data"] for run in trained)]):
        ours = [run for run in trained if run["recipe"]["data"] == data]
        groups = [Group(OURS, True, [own(run) for run in ours]), *published(data, docs)]
        sorted_groups = [
            Group(group.protocol, group.ours, sorted(group.entries, key=lambda e: -e.strongest))
            for group in groups
            if group.entries
        ]
        if sorted_groups:
            used = [use(run["name"], docs / "runs" / run["name"]) for run in ours]
            found.append(Section(data, sorted_groups, used))
    return found


def own(run: dict[str, Any]) -> Entry:
    """A run of ours: its released head, and AutoAttack on as many images as there are of it."""
    rows: Rows = run["results"]
    accuracy = {row.eps: measured([row]) for row in headline(rows) if row.norm in ("", "linf")}
    ensembles = [
        row
        for row in accuracies(rows)
        if (row.attack, row.norm, row.eps) == (ENSEMBLE, "linf", RADIUS)
    ]
    if ensembles:
        accuracy[ENSEMBLE] = measured(sorted(ensembles, key=lambda row: -row.n)[:1])
    recipe, made = recipe_from_json(run["recipe"]), run["provenance"]
    steps = made.get("steps")
    flop = None if steps is None else flop_of(recipe, steps * recipe.batch_size)
    pretraining = f"{run['minutes']:.1f} minutes on {made['device']}"
    least = bool(recipe.objective.taught) or "from" in made
    return Entry(run["name"], accuracy, pretraining, flop, least)


def measured(rows: Sequence[Any]) -> Measured:
    (row,) = rows
    few = partial_images(rows)
    return Measured(row.value, row.low, row.high, f"on {few}" if few else "")


def flop_of(recipe: Recipe, images: int) -> float:
    """Of pretraining; `images` counts an image as often as it was seen."""
    return images * passes_per_image(recipe) * flop_per_pass(recipe)


def published(data: str, docs: Path) -> list[Group]:
    """What others measured on this data set."""
    paper = json.loads((docs / "paper.json").read_text("utf-8"))
    boards = json.loads((docs / "published.json").read_text("utf-8"))
    groups = [Group(f"Published: {paper['source']}; PGD", False, paper_rows(paper["rows"], data))]
    if taught := paper.get("taught"):
        told = f"Published: {taught['source']}; AutoAttack at {RADIUS}"
        groups.append(Group(told, False, taught_rows(taught["rows"], data)))
    for board in boards:
        told = f"Published: {board['source']}; {board['protocol']}"
        groups.append(Group(told, False, board_rows(board, data)))
    return groups


def paper_rows(rows: Sequence[Mapping[str, Any]], data: str) -> list[Entry]:
    """Of the paper whose recipes are in the package: clean, and PGD at both radii."""
    return [
        Entry(
            row["encoder"],
            dict(zip(("", *PGD), map(Measured, row[data]), strict=True)),
            f"{row['minutes']} minutes",
            whole_schedule(row["recipe"]),
        )
        for row in rows
        if data in row
    ]


def taught_rows(rows: Sequence[Mapping[str, Any]], data: str) -> list[Entry]:
    """Of encoders that learn from a teacher: clean, and AutoAttack."""
    return [
        Entry(
            row["encoder"],
            dict(zip(("", ENSEMBLE), map(Measured, row["values"]), strict=True)),
            f"{load_recipe(row['recipe']).epochs} epochs, after its teacher's",
            whole_schedule(row["recipe"]),
            least=True,
        )
        for row in rows
        if row["data"] == data
    ]


def board_rows(board: Mapping[str, Any], data: str) -> list[Entry]:
    """Of a leaderboard, whose steps of attacks in pretraining are not known here."""
    standard = flop_per_pass(load_recipe("cf-amc-ssl"))
    return [
        Entry(
            row["encoder"],
            {column_of(key): Measured(value) for key, value in row[data].items()},
            row["pretraining"],
            row["epochs"] * TRAINING_IMAGES * board["views"] * standard,
            least=True,
        )
        for row in board["rows"]
        if data in row
    ]


def column_of(key: str) -> str:
    """The key of COLUMNS that a key of docs/published.json stands for."""
    return {"clean": "", "autoattack": ENSEMBLE}.get(key, key)


def whole_schedule(name: str) -> float:
    """FLOP of a recipe of the package, run to its end."""
    recipe = load_recipe(name)
    return flop_of(recipe, recipe.epochs * TRAINING_IMAGES)


def use(name: str, folder: Path) -> Use:
    """What the files beside a run's results say."""
    voted, transfer, latency, size = (find(folder) for find in MEASUREMENTS)
    moved = transfer and Measured(transfer["test_accuracy"], transfer["low"], transfer["high"])
    return Use(
        name,
        str(share(voted["knn_accuracy"], voted["n"])) if voted else "-",
        f"{transfer['data']} {moved}" if transfer else "-",
        f"{latency['image_ms']:.1f} ms" if latency else "-",
        f"{latency['images_per_second']:,.0f}/s" if latency else "-",
        f"{sum(size['parameters'].values()) / 1e6:.1f} million" if size else "-",
        f"{size['bytes'] / 1e6:.1f} MB" if size else "-",
    )


def share(value: float, n: int) -> Measured:
    """An accuracy in percent of n images, with its interval."""
    low, high = wilson(round(value * n / 100), n)
    return Measured(value, 100 * low, 100 * high)


def neighbours(folder: Path) -> Any:
    """What is known of k-NN: measured with the heads, or where these are older, alone."""
    heads = read(folder, "heads") or []
    found = [head for head in heads if "knn_accuracy" in head]
    return found[0] if found else read(folder, "neighbours")


def read(folder: Path, part: str) -> Any:
    """A file of a run, or None."""
    path = folder / f"{part}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


MEASUREMENTS: tuple[Callable[[Path], Any], ...] = (
    neighbours,
    *(partial(read, part=part) for part in ("transfer", "latency", "size")),
)


def conditions(trained: Sequence[dict[str, Any]], docs: Path) -> list[str]:
    """How what stands beside the accuracies was measured, in sentences that its files make."""
    found: dict[str, None] = {}
    for find, tell in zip(MEASUREMENTS, TOLD, strict=True):
        for run in trained:
            if measurement := find(docs / "runs" / run["name"]):
                found[tell(measurement)] = None
    return [*found]


def told_transfer(found: Any) -> str:
    return (
        f"Transfer: a linear head on the frozen {found['feature']} features, fitted to all "
        f"{found['train_images']:,} training images of {found['data']}, the weight decay chosen "
        f"on a held-out tenth; clean accuracy on its {found['n']:,} test images."
    )


def told_latency(found: Any) -> str:
    return (
        f"Latency: {found['feature']} features in ONNX Runtime {found['versions']['onnxruntime']}"
        f" with {wording.counted(found['threads'], 'thread')} of {found['device']}; one image, and "
        f"images a second in batches of {found['batch']}: the best run of "
        f"{found['tried_seconds']:g} seconds, beside other work of the machine."
    )


def told_size(found: Any) -> str:
    return f"Size: {' and '.join(found['files'])}, which embedding reads."


def told_neighbours(found: Any) -> str:
    return (
        f"k-NN: the {found['knn_k']} nearest of the training images' {found['feature']} vectors "
        "vote, weighted by their cosine."
    )


TOLD = (told_neighbours, told_transfer, told_latency, told_size)
COST = (
    "What pretraining computes is counted, not measured: passes of the network forward and "
    "backward, of every view and every step of an attack, as the recipe has them; of encoders "
    "whose recipe is not in the package, their epochs and two views. Where it says over, "
    "steps of attacks, or what made a teacher, are not in it."
)


def markdown(found: Sequence[Section], told: Sequence[str]) -> list[str]:
    """The board as lines of docs/results.md."""
    parts = [
        "## At a glance",
        "",
        "L-infinity, percent, 95% intervals in brackets where the verdicts are ours. Groups were "
        "measured by other protocols than each other and are not to be ranked across: PGD finds "
        "less than AutoAttack, and heads differ. The same with a picture: "
        "[leaderboard.html](leaderboard.html).",
        "",
    ]
    for section in found:
        parts += [
            f"### Trained on {section.data}",
            "",
            f"| encoder | {' | '.join(COLUMNS.values())} | pretraining | computes |",
            f"|---|{'---|' * (len(COLUMNS) + 2)}",
        ]
        for group in section.groups:
            parts.append(f"| **{group.protocol}** |{' |' * (len(COLUMNS) + 2)}")
            for entry in group.entries:
                name = f"`{entry.name}`" if group.ours else entry.name
                cells = [str(entry.accuracy.get(key, "-")) for key in COLUMNS]
                told_cells = " | ".join([name, *cells, entry.pretraining, entry.computed])
                parts.append(f"| {told_cells} |")
        if section.uses:
            parts += [
                "",
                "| encoder | k-NN | transfer | one image | batch | parameters | size |",
                "|---|---|---|---|---|---|---|",
            ]
            parts += [
                f"| `{u.name}` | {u.neighbours} | {u.transfer} | {u.image} | {u.rate} | "
                f"{u.parameters} | {u.megabytes} |"
                for u in section.uses
            ]
        parts.append("")
    return [*parts, " ".join([*told, COST, LEFT_OUT]), ""]
