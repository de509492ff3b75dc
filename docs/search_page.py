"""Writes docs/search.html: one search with two encoders, as images are and under attack.

    python docs/search_page.py --robust resnet18-thin-cifar10-free --standard runs/standard

Both search the bundled sample for the same queries. How a standard encoder is trained stands in
CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from PIL import Image

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.job import embed_to_file
from cfamc_zoo.embedding.outputs import Output, locate
from cfamc_zoo.embedding.search.changed import changed, images_of
from cfamc_zoo.embedding.search.contact_sheet import Part, Sheet, render_sheet
from cfamc_zoo.embedding.search.opening import open_vectors
from cfamc_zoo.embedding.search.origin import origin_of
from cfamc_zoo.embedding.search.queries import find_queries, search
from cfamc_zoo.embedding.search.results import AttackedNeighbours, kept
from cfamc_zoo.embedding.search.sections import Thumbnails
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.evaluation.query_attack import push_queries
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import Release

DOCS = Path(__file__).parent
DATA, EPS, K = "cifar10-sample", "8/255", 10


def write_images(count: int | None) -> list[Path]:
    """The sample as files of the working folder, whose names say their classes."""
    sample = load_dataset(DATA, limit=count)
    paths = []
    for row, (image, label) in enumerate(zip(sample.images, sample.labels, strict=True)):
        paths.append(Path(f"{row:04}-{sample.classes[label]}.png"))
        Image.fromarray(image).save(paths[-1])
    return paths


def opened(name: str) -> Release:
    """A release that can be read from any folder."""
    return resolve(str(Path(name).absolute()) if Path(name).is_dir() else name)


def searched(release: Release, paths: list[Path], count: int) -> AttackedNeighbours:
    """The first `count` images as queries among all."""
    out = Path("vectors.parquet")
    output = Output(*locate(str(out)), existing="replace")
    items = open_inputs([str(path) for path in paths])
    embed_to_file(items, release, output, settings=Settings(), execution=Execution())
    stored = open_vectors(out)
    origin = origin_of(stored, open_model=lambda name: release)
    queries = find_queries(range(count), stored, lambda: origin)
    pushed = push_queries(release, images_of(queries, stored, origin), feature="backbone", eps=EPS)
    answers, attacked = (
        search(asked, stored, K) for asked in (queries, changed(queries, pushed, origin))
    )
    return AttackedNeighbours(stored, None, answers, attacked, EPS, pushed)


def part_of(word: str, found: AttackedNeighbours, shown: int, config: ReleaseConfig) -> Part:
    """What the page shows of one encoder."""
    few = replace(
        found,
        answers=found.answers[:shown],
        attacked=found.attacked[:shown],
        images=found.images[:shown],
    )
    facts = [
        ("network", config.architecture.description),
        ("trained against", wording.threat(config.threat_model, config.recipe)),
        *(("training", text) for text in wording.training(config.recipe, config.provenance)),
    ]
    title = f"{word}: {config.name}, {mean_kept(found):.1f} of {K} neighbours stay on average"
    return Part(title, few.sections(Thumbnails(found.vectors)), [*facts, *found.facts()])


def mean_kept(found: AttackedNeighbours) -> float:
    pairs = found.pairs()
    return sum(kept(before, after) for before, after in pairs) / len(pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--robust", required=True, help="a name or a release folder")
    parser.add_argument("--standard", required=True, help="the same")
    parser.add_argument("--images", type=int, help="of the sample; all of them by default")
    parser.add_argument("--queries", type=int, default=100, help="the first ones; for the mean")
    parser.add_argument("--shown", type=int, default=2, help="queries that are shown")
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "search.html")
    given = parser.parse_args(arguments)
    releases = [("Robust", opened(given.robust)), ("Standard", opened(given.standard))]
    out = given.output.absolute()
    parts = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        paths = write_images(given.images)
        for word, release in releases:
            found = searched(release, paths, given.queries)
            parts.append(part_of(word, found, given.shown, release.config))
    words = [
        "python",
        "docs/search_page.py",
        "--robust",
        given.robust,
        "--standard",
        given.standard,
    ]
    sheet = Sheet(
        "One search, two encoders, before and under attack",
        f"The {K} nearest of {len(paths):,} images of {DATA}, by the cosine of backbone features. "
        f"Then the query is changed by at most {EPS} in every pixel, so that its vector moves as "
        "far as 20 steps of gradient ascent can move it, without any label; what a search finds "
        "only then is marked. Shown are the first images of the sample, none chosen; averages are "
        f"of the first {given.queries}.",
        parts,
        shlex.join(words),
    )
    out.write_text(render_sheet(sheet), "utf-8")


if __name__ == "__main__":
    main()
