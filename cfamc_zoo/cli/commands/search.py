"""`cfamc-zoo search`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.opening import open_model
from cfamc_zoo.cli.options import Json, Threads
from cfamc_zoo.errors import UsageError

if TYPE_CHECKING:
    from cfamc_zoo.embedding.search.index import VectorIndex
    from cfamc_zoo.embedding.search.origin import Origin
    from cfamc_zoo.embedding.search.results import Result
    from cfamc_zoo.embedding.search.stored import StoredVectors

THRESHOLD, K, EPS = 0.99, 10, "8/255"

EXAMPLES = (
    "cfamc-zoo search images/000.png --in vectors.parquet -k 5",
    "cfamc-zoo search --duplicates --in vectors.parquet --html duplicates.html",
)


def search(
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="Image files, paths that stand in the file, or row:N."
        ),
    ] = None,
    vectors: Annotated[
        Path,
        typer.Option("--in", help="What `embed` wrote: .parquet, a folder of it, .npy, ..."),
    ] = Path("embeddings.parquet"),
    k: Annotated[
        int | None, typer.Option("-k", help="So many neighbours of each. [default: 10]")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="MODEL", help="The release. [default: what the file names]"
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="backbone, representation or projection: of a file that does not say. "
            "[default: backbone]"
        ),
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Search by this index file; it is built if it is not there.")
    ] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Find groups of near-duplicates instead.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Least cosine of duplicates, up to 1. [default: 0.99]")
    ] = None,
    attacked: Annotated[
        bool, typer.Option("--attacked", help="Also search with each query under attack.")
    ] = False,
    eps: Annotated[
        str | None, typer.Option(help="Radius of the attack in pixels of [0, 1]. [default: 8/255]")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page of pictures here (.html).")
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Find the nearest images among vectors that `embed` wrote."""
    queries = queries or []
    _refuse(
        ("a query", bool(queries and duplicates), "without --duplicates"),
        ("-k", k is not None and duplicates, "without --duplicates"),
        ("--attacked", attacked and duplicates, "without --duplicates"),
        ("--threshold", threshold is not None and not duplicates, "with --duplicates"),
        ("--eps", eps is not None and not attacked, "with --attacked"),
    )

    from cfamc_zoo.embedding.search.opening import open_vectors
    from cfamc_zoo.embedding.search.origin import origin_of
    from cfamc_zoo.evaluation.outputs import check_path
    from cfamc_zoo.zoo.threat import Linf

    radius = (eps or EPS) if attacked else None
    Linf.of(radius or EPS)  # refuses what is none
    if html is not None:
        check_path(html, (".html",))
    stored = open_vectors(vectors)

    @cache
    def origin() -> Origin:
        return origin_of(stored, model=model, feature=features, open_model=open_model)

    if model is not None or features is not None:
        origin()  # refuses another model than the file's, also where no image is embedded
    found: Result
    if duplicates:
        found = _duplicates(stored, THRESHOLD if threshold is None else threshold, index)
    else:
        found = _neighbours(stored, queries, K if k is None else k, index, origin, radius, threads)
    notes = found.notes()
    if html is not None:
        notes += _write(html, found, shlex.join(["cfamc-zoo", *sys.argv[1:]]))
    for text in notes:
        output.note(text)
    if json:
        output.json_result(found.to_json())
    else:
        headers, rows, right = found.table()
        output.table(headers, rows, right=right)


def _refuse(*options: tuple[str, bool, str]) -> None:
    for name, wrong, where in options:
        if wrong:
            raise UsageError(f"{name} is for a search {where}")


def _neighbours(
    stored: StoredVectors,
    asked: list[str],
    k: int,
    index: Path | None,
    origin: Callable[[], Origin],
    radius: str | None,
    threads: int | None,
) -> Result:
    from cfamc_zoo.embedding.search.queries import check_k, find_queries, search
    from cfamc_zoo.embedding.search.results import AttackedNeighbours, Neighbours

    queries = find_queries(asked, stored, origin, threads=threads)
    check_k(k, queries, stored)
    by = None if index is None else _open_index(index, stored)
    answers = search(queries, stored, k, index=by)
    recall = None if by is None else by.recall
    if radius is None:
        return Neighbours(stored, recall, answers)

    from cfamc_zoo.embedding.search.changed import changed, images_of
    from cfamc_zoo.evaluation.query_attack import push_queries
    from cfamc_zoo.threads import use_threads

    use_threads(threads)
    made = origin()
    images = images_of(queries, stored, made)
    pushed = push_queries(made.release, images, feature=made.feature, eps=radius)
    again = search(changed(queries, pushed, made, threads=threads), stored, k, index=by)
    return AttackedNeighbours(stored, recall, answers, again, radius, pushed)


def _duplicates(stored: StoredVectors, threshold: float, index: Path | None) -> Result:
    from cfamc_zoo.embedding.search.duplicates import EXACT, check_threshold, find_duplicates
    from cfamc_zoo.embedding.search.results import Duplicates

    check_threshold(threshold)
    by = None if index is None else _open_index(index, stored)
    if by is None and stored.count > EXACT:
        from cfamc_zoo.embedding.search.index import build_index

        with output.progress("indexing", stored.count) as bar:
            by = build_index(stored, advance=bar.advance)
    with output.progress("comparing", stored.count) as bar:
        groups = find_duplicates(stored, threshold, index=by, advance=bar.advance)
    return Duplicates(stored, None if by is None else by.recall, threshold, groups)


def _open_index(file: Path, stored: StoredVectors) -> VectorIndex:
    from cfamc_zoo.embedding.search.index import check_index, keep_index, open_index

    check_index(file)
    if file.exists():
        return open_index(file, stored)
    with output.progress("indexing", stored.count) as bar:
        return keep_index(file, stored, advance=bar.advance)


def _write(html: Path, found: Result, command: str) -> list[str]:
    """Writes the page; says what is not in it."""
    from cfamc_zoo.atomic import atomic_file
    from cfamc_zoo.embedding.search.contact_sheet import page_of

    page, missing = page_of(found, command)
    with atomic_file(html) as path:
        path.write_text(page, "utf-8")
    return [f"no picture of {missing} images: their files are gone or cannot be read"] * (
        missing > 0
    )
