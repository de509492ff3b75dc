"""The first answer of a search in a file, beside NumPy's own product of the same file.

Both in processes of their own and in one run, on the same cores, in turns: what anyone would
write, which reads the whole file, and this package, which looks at it in blocks. Of each the best
of some tries, so that the file is in the system's cache for both; and the peak memory. Then an
index: how long it takes to build, its answer and its recall. The vectors are made up, with as few
degrees of freedom as an encoder's have: among ones without any structure an index finds little, and
nobody has such.

    python benchmarks/search.py [--vectors 1000000] [--dimension 512] [--index] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import write_array_header_1_0

from cfamc_zoo.embedding.arrow import to_numpy
from cfamc_zoo.embedding.partial import PARQUET_OPTIONS

PART = 2048  # rows of a part, as `embed` writes them
FREE, GRAIN = 32, 0.5  # degrees of freedom, and what each value has of its own beside them
PACKAGES = ("cfamc-zoo", "numpy", "pyarrow", "usearch")
# `np.load` and the product alone; cosine, as a search has it, takes the norms too.
PLAIN_NPY = """
vectors = np.load(path)
"""
PLAIN_PARQUET = """
import pyarrow.parquet as pq
column = pq.read_table(path, columns=["embedding"]).column(0).combine_chunks()
vectors = column.flatten().to_numpy().reshape(len(column), -1)
"""
PRODUCT = """
similar = vectors @ vectors[17]
"""
COSINE = """
similar = vectors @ vectors[17] / np.linalg.norm(vectors, axis=1)
"""
PLAIN_END = """
rows = np.argpartition(-similar, 10)[:11]
rows[np.argsort(-similar[rows])]
"""
OURS = """
found = cfamc_zoo.search(17, path, k=10)
"""
INDEX = """
stored = open_vectors(Path(path))
queries = find_queries(17, stored, None)
found = search(queries, stored, 10, index=open_index(Path(path + ".index"), stored))
"""
RUN = """
import resource, sys, time
from pathlib import Path
import numpy as np
import pyarrow
import cfamc_zoo
import cfamc_zoo.embedding.sources
from cfamc_zoo.embedding.search.index import open_index
from cfamc_zoo.embedding.search.opening import open_vectors
from cfamc_zoo.embedding.search.queries import find_queries, search
path = sys.argv[1]
start = time.perf_counter()
{body}
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def parts(n: int, dimension: int) -> Iterator[pa.Table]:
    """Vectors as behind a ReLU, a part in memory at a time."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((FREE, dimension), np.float32)
    for first in range(0, n, PART):
        rows = min(PART, n - first)
        values = random.standard_normal((rows, FREE), np.float32) @ directions
        values += GRAIN * random.standard_normal((rows, dimension), np.float32)
        values = np.maximum(values, 0)
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dimension)
        names = [f"images/{i:08}.png" for i in range(first, first + rows)]
        yield pa.table({"path": names, "embedding": column})


def write_npy(path: Path, n: int, dimension: int) -> None:
    names = path.with_name(f"{path.name}.paths.txt")
    with path.open("wb") as file, names.open("w", encoding="utf-8") as beside:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, dimension)}
        write_array_header_1_0(file, header)
        for part in parts(n, dimension):
            file.write(to_numpy(part).tobytes())
            beside.writelines(f'"{name}"\n' for name in part.column("path").to_pylist())


def write_parquet(path: Path, n: int, dimension: int) -> None:
    schema = next(parts(1, dimension)).schema
    with pq.ParquetWriter(path, schema, **PARQUET_OPTIONS) as writer:
        for part in parts(n, dimension):
            writer.write_table(part)


WRITERS = {".npy": write_npy, ".parquet": write_parquet}


def measure(body: str, path: Path) -> tuple[float, float]:
    """Seconds, and MiB at the most."""
    command = [sys.executable, "-c", RUN.format(body=body), str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, peak = map(float, said.split())
    return seconds, peak


def best(sides: dict[str, str], path: Path, tries: int) -> dict[str, tuple[float, float]]:
    """Of each side, in turns: the least seconds, the most MiB."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(tries):
        for name, body in sides.items():
            found[name].append(measure(body, path))
    return {
        name: (min(s for s, _ in all_), max(m for _, m in all_)) for name, all_ in found.items()
    }


def with_index(path: Path) -> dict[str, float]:
    """Builds one and asks it."""
    from cfamc_zoo.embedding.search.index import keep_index
    from cfamc_zoo.embedding.search.opening import open_vectors

    start = time.perf_counter()
    index = keep_index(Path(f"{path}.index"), open_vectors(path))
    built = time.perf_counter() - start
    seconds, peak = min(measure(INDEX, path) for _ in range(3))
    return {
        "build_seconds": built,
        "recall": index.recall,
        "answer_seconds": seconds,
        "peak_mib": peak,
        "mib": Path(f"{path}.index").stat().st_size / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--index", action="store_true", help="also build one")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    n, dimension = arguments.vectors, arguments.dimension
    result: dict[str, object] = {
        "command": " ".join(["python", "benchmarks/search.py", *sys.argv[1:]]),
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in PACKAGES},
        },
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "vectors": n,
        "dimension": dimension,
    }
    print(f"first answer over {n:,} x {dimension}, reading included")
    with tempfile.TemporaryDirectory() as folder:
        for suffix, read in ((".npy", PLAIN_NPY), (".parquet", PLAIN_PARQUET)):
            path = Path(folder, f"v{suffix}")
            WRITERS[suffix](path, n, dimension)
            sides = {
                "product": read + PRODUCT + PLAIN_END,
                "cosine": read + COSINE + PLAIN_END,
                "ours": OURS,
            }
            found = best(sides, path, arguments.tries)
            for name, (seconds, peak) in found.items():
                ratio = seconds / found["product"][0]
                print(f"  {suffix:9}{name:8} {seconds:7.3f} s {peak:7.0f} MiB   {ratio:.2f}x")
            result[suffix] = {name: {"seconds": s, "peak_mib": m} for name, (s, m) in found.items()}
            if arguments.index and suffix == ".parquet":
                result["index"] = said = with_index(path)
                print("  index    " + ", ".join(f"{k} {v:.3f}" for k, v in said.items()))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
