"""Nearest and duplicate vectors against the plain way, in every format, and an index's recall."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cfamc_zoo.embedding import writers
from cfamc_zoo.embedding.search import duplicates, nearest, stored
from cfamc_zoo.embedding.search import index as search_index
from cfamc_zoo.embedding.search.duplicates import find_duplicates
from cfamc_zoo.embedding.search.index import build_index, keep_index, open_index
from cfamc_zoo.embedding.search.opening import open_vectors
from cfamc_zoo.embedding.search.queries import find_queries, search
from cfamc_zoo.errors import DataError, UnknownNameError, UsageError

N, D = 300, 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Seven rows a block and three blocks held: nothing is whole."""
    monkeypatch.setattr(stored, "BLOCK", 7 * 4 * D)
    monkeypatch.setattr(duplicates, "HELD", 3 * 7 * 4 * D)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)


def names(n=N):
    return [f"img/{i:03}.png" for i in range(n)]


def table(vectors, kind=None, **extra):
    kind = kind or pa.float32()
    flat = pa.array(vectors.ravel().astype(kind.to_pandas_dtype()), kind)
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table({"path": names(len(vectors)), "embedding": column, **extra})


def write(path, vectors):
    """As `embed` writes it, in parts."""
    whole = table(vectors).replace_schema_metadata({"model": "m", "sha256": "0" * 64})
    parts = SimpleNamespace(
        schema=whole.schema,
        tables=lambda: (whole.slice(first, 50) for first in range(0, len(whole), 50)),
        total=lambda of: len(whole),
    )
    writers.FORMATS[path.suffix].finish(path, parts)
    return open_vectors(path)


def plain(vectors, queries, k):
    """By float64 and a whole matrix."""
    wide = vectors.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    similar = queries.astype(np.float64) @ unit.T
    rows = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(similar, rows, 1)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("suffix", ["parquet", "npy", "csv", "jsonl"])
@pytest.mark.parametrize("count", [1, 5])
def test_it_finds_what_a_whole_matrix_finds(vectors, tmp_path, suffix, count):
    opened = write(tmp_path / f"v.{suffix}", vectors)
    queries = unit(np.random.default_rng(1).standard_normal((count, D)).astype(np.float32))
    rows, similar = nearest.nearest(opened, queries, 12)
    expected = plain(vectors, queries, 12)
    assert np.array_equal(rows, expected[0])
    np.testing.assert_allclose(similar, expected[1], atol=1e-6)
    assert opened.names(rows[0].tolist()) == [f"img/{row:03}.png" for row in rows[0]]
    assert opened.find("img/123.png") == 123 and opened.find("123.png") is None


def test_of_equal_ones_the_lower_row_comes_first(tmp_path):
    same = np.tile(np.arange(1, D + 1, dtype=np.float32), (40, 1))
    opened = write(tmp_path / "v.npy", same)
    rows, similar = nearest.nearest(opened, unit(same[:1]), 40)
    assert len(set(similar[0].tolist())) == 1
    assert rows[0].tolist() == list(range(40))


def test_folders_float16_doubles_lists_and_other_columns(vectors, tmp_path):
    folder = tmp_path / "set"
    (folder / "part=b").mkdir(parents=True)
    (folder / "_temporary").mkdir()
    half = table(vectors[:100], pa.float16(), width=list(range(100)))
    pq.write_table(half, folder / "a.parquet", row_group_size=30)
    pq.write_table(table(vectors[100:]), folder / "part=b" / "0.parquet")
    (folder / ".a.parquet.partial").mkdir()
    (folder / ".a.parquet.partial" / "x.parquet").write_text("unfinished")
    opened = open_vectors(folder)
    assert (opened.count, opened.dimension) == (N, D)
    expected = unit(np.concatenate([vectors[:100].astype(np.float16), vectors[100:]]))
    np.testing.assert_allclose(
        opened.rows([250, 3, 99, 100]), expected[[250, 3, 99, 100]], rtol=1e-6
    )
    for start in (0, 5, 65, 100, 299):
        some = np.concatenate([block.unit() for block in opened.blocks(start)])
        np.testing.assert_allclose(some, expected[start:], rtol=1e-6)

    lists = pa.table({"path": names(), "embedding": vectors.astype(np.float64).tolist()})
    pq.write_table(lists, tmp_path / "lists.parquet")
    np.testing.assert_allclose(
        open_vectors(tmp_path / "lists.parquet").rows([7]), unit(vectors[7:8])
    )


def test_a_row_is_not_its_own_neighbour_and_an_image_may_be(vectors, tmp_path):
    opened = write(tmp_path / "v.parquet", vectors)
    queries = find_queries([17, "row:17", "img/017.png"], opened, None)
    assert [q.row for q in queries] == [17, 17, 17]
    assert [q.path for q in queries] == ["img/017.png"] * 3
    for answer in search(queries, opened, N - 1):
        found = [n.row for n in answer.neighbours]
        assert sorted(found) == [row for row in range(N) if row != 17]
        assert found == plain(vectors, unit(vectors[17:18]), N)[0][0, 1:].tolist()


def groups_of(vectors, threshold):
    """By a whole matrix and a walk."""
    near = unit(vectors.astype(np.float64)) @ unit(vectors.astype(np.float64)).T >= threshold
    left, found = set(range(len(vectors))), []
    while left:
        group, border = set(), {min(left)}
        while border:
            group |= border
            border = {j for i in border for j in np.flatnonzero(near[i]).tolist()} - group
        left -= group
        found += [sorted(group)] if len(group) > 1 else []
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))


def rows_of(groups):
    return [[member.row for member in group.members] for group in groups]


def clustered(n=N, centres=60, spread=0.3):
    random = np.random.default_rng(2)
    middle = random.standard_normal((centres, D))[random.integers(0, centres, n)]
    return (middle + spread * random.standard_normal((n, D))).astype(np.float32)


@pytest.mark.parametrize("suffix", ["parquet", "npy"])
@pytest.mark.parametrize("threshold", [0.3, 0.9, 0.95, 0.99])
def test_duplicates_are_connected_components(tmp_path, suffix, threshold):
    vectors = clustered()
    done = []
    found = find_duplicates(
        write(tmp_path / f"v.{suffix}", vectors), threshold, advance=done.append
    )
    expected = groups_of(vectors, threshold)
    assert expected or threshold == 0.99
    assert rows_of(found) == expected
    assert sum(done) == N
    similar = unit(vectors) @ unit(vectors).T - 2 * np.eye(N)
    for group in found:
        for member in group.members:
            assert member.similarity == pytest.approx(similar[member.row].max(), abs=1e-6)
            assert member.path == f"img/{member.row:03}.png"


def test_chains_and_equal_vectors_hang_together(tmp_path):
    """Every image is like the next one alone, in an order that has nothing to do with rows."""
    angles = np.random.default_rng(0).permutation(100) * 0.01
    chain = np.stack([np.cos(angles), np.sin(angles), *np.zeros((D - 2, 100))], 1)
    equal = np.tile(-np.ones(D), (3, 1)) * [[1.0], [2.0], [0.3]]
    zeros = np.zeros((2, D))
    opened = write(tmp_path / "v.npy", np.concatenate([chain, equal, zeros]).astype(np.float32))
    found = find_duplicates(opened, float(np.cos(0.0101)))
    assert rows_of(found) == [list(range(100)), [100, 101, 102]]
    found = find_duplicates(opened, 1)
    assert rows_of(found) == [[100, 101, 102]]


@pytest.mark.parametrize("threshold", [0, -0.5, 1.001, float("nan")])
def test_a_threshold_out_of_range(vectors, tmp_path, threshold):
    with pytest.raises(UsageError, match="over 0 and at most 1"):
        find_duplicates(write(tmp_path / "v.npy", vectors), threshold)


@pytest.mark.parametrize(("kind", "least"), [("random", 0.9), ("clustered", 0.97)])
def test_an_index_finds_most_and_says_how_many(tmp_path, kind, least):
    n = 1500
    random = np.random.default_rng(0).standard_normal((n, D)).astype(np.float32)
    vectors = random if kind == "random" else clustered(n, 40)
    opened = write(tmp_path / "v.npy", vectors)
    index = keep_index(tmp_path / "ix", opened)
    queries = unit(np.random.default_rng(5).standard_normal((50, D)).astype(np.float32))
    rows, similar = index.nearest(opened, queries, 10)
    expected = plain(vectors, queries, 10)
    same = [len(set(a) & set(b)) for a, b in zip(rows.tolist(), expected[0].tolist(), strict=True)]
    assert sum(same) / 500 >= least and index.recall >= least
    chosen = np.einsum("qd,qkd->qk", queries, unit(vectors)[rows])
    np.testing.assert_allclose(similar, chosen, atol=1e-6)
    assert (np.diff(similar, axis=1) <= 0).all()

    again = open_index(tmp_path / "ix", opened)
    assert np.array_equal(again.nearest(opened, queries, 10)[0], rows)
    assert again.recall == index.recall


def test_an_index_reads_at_once_what_several_queries_need(tmp_path, monkeypatch):
    opened = write(tmp_path / "v.npy", clustered(1500, 40))
    index, reads = build_index(opened), []
    read = type(opened)._rows
    monkeypatch.setattr(
        type(opened), "_rows", lambda self, rows: reads.append(len(rows)) or read(self, rows)
    )
    queries = unit(np.random.default_rng(5).standard_normal((50, D)).astype(np.float32))
    rows, similar = index.nearest(opened, queries, 10)
    assert len(reads) == 1
    monkeypatch.setattr(search_index, "TOGETHER", 45)  # candidates of two queries
    again = index.nearest(opened, queries, 10)
    assert len(reads) == 1 + 25
    np.testing.assert_array_equal(again[0], rows)
    np.testing.assert_allclose(again[1], similar, atol=1e-6)


def test_an_index_finds_the_groups_that_all_pairs_give(tmp_path):
    vectors = clustered(400, 100, 0.05)
    # Two clumps in one group, each of more than an index is asked for at first.
    vectors[:40], vectors[40:80] = vectors[0], vectors[0]
    vectors[40:80, 0] += 0.15 * np.linalg.norm(vectors[0])
    opened = write(tmp_path / "v.npy", vectors)
    exact = find_duplicates(opened, 0.98)
    assert set(range(80)) <= set(rows_of(exact)[0])
    done = []
    found = find_duplicates(opened, 0.98, index=build_index(opened), advance=done.append)
    assert rows_of(found) == [[m.row for m in g.members] for g in exact]
    assert sum(done) == 400


def test_an_index_of_other_vectors_is_refused_and_a_damaged_one(vectors, tmp_path):
    file, index = tmp_path / "v.npy", tmp_path / "ix"
    keep_index(index, write(file, vectors))
    os.utime(file, (1, 1))
    os.utime(index, (1, 1))
    open_index(index, open_vectors(file))  # the same content at another time

    whole = index.read_bytes()
    index.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="not the file that was written"):
        open_index(index, open_vectors(file))
    index.write_bytes(whole)

    vectors[7, 3] += 1
    with pytest.raises(UsageError, match="is not of .* as it is now; delete it"):
        open_index(index, write(file, vectors))

    said = tmp_path / "ix.json"
    said.write_text(json.dumps({"vectors": []}))
    with pytest.raises(DataError, match=r"ix.json beside it cannot be read"):
        open_index(index, open_vectors(file))


def damaged(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def npy(array):
    return lambda path: np.save(path, array)


def text(content):
    return lambda path: path.write_text(content)


EMPTY = pa.array([], pa.list_(pa.float32(), 4))


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("v.parquet", text("no Parquet"), "does not hold vectors"),
        ("v.parquet", damaged(path=["a"], label=[1]), "no column 'embedding' of lists of floats"),
        ("v.parquet", damaged(path=["a"], embedding=["x"]), "no column 'embedding' of lists of"),
        ("v.parquet", damaged(path=pa.array([], pa.string()), embedding=EMPTY), "holds no vectors"),
        ("v.parquet", damaged(embedding=[[1.0, 2.0], [1.0]]), "not all of 2 values"),
        ("v.parquet", damaged(embedding=[[1.0, 2.0], None]), "row 1 has no vector"),
        ("v.parquet", damaged(embedding=[[1.0, 2.0], [float("nan"), 1.0]]), "row 1 holds NaN"),
        ("v.npy", text("no array"), "does not hold vectors"),
        ("v.npy", npy(np.zeros(3, np.float32)), r"float32 \(3,\), not \(N, D\) floats"),
        ("v.npy", npy(np.zeros((3, 3), int)), r"not \(N, D\) floats"),
        ("v.npy", npy(np.zeros((0, 3), np.float32)), "holds no vectors"),
        ("v.npy", npy(np.array([[1, 2], [np.inf, 1]], np.float32)), "row 1 holds NaN"),
        ("v.csv", text("a,b\n1,2\n"), "its first column is 'a', not 'path'"),
        ("v.csv", text("path,e0\n"), "holds no vectors"),
        ("v.csv", text("path,e0,e1\na,1,2\nb,1\n"), "does not hold vectors"),
        ("v.jsonl", text('{"path": "a"}\n'), "does not hold vectors"),
        ("v.jsonl", text("no JSON\n"), "does not hold vectors"),
    ],
)
def test_files_that_are_none_of_ours_are_refused_in_a_line(tmp_path, name, make, said):
    path = tmp_path / name
    make(path)
    with pytest.raises(DataError, match=said) as caught:
        nearest.nearest(open_vectors(path), np.ones((1, 2), np.float32), 1)
    assert "\n" not in str(caught.value) and repr(str(path)) in str(caught.value)


def test_files_of_two_models_are_not_one_set(vectors, tmp_path):
    for name, digest in (("a", "1"), ("b", "2")):
        whole = table(vectors[:5]).replace_schema_metadata({"sha256": digest})
        pq.write_table(whole, tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="was made otherwise than"):
        open_vectors(tmp_path)


def test_what_is_not_there(vectors, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.parquet"):
        open_vectors(tmp_path / "empty")
    with pytest.raises(UsageError, match="does not exist"):
        open_vectors(tmp_path / "gone.parquet")
    (tmp_path / "v.txt").touch()
    with pytest.raises(UnknownNameError, match="unknown format of vectors '.txt'"):
        open_vectors(tmp_path / "v.txt")
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "v.npy.paths.txt").write_text('"a"\n')
    with pytest.raises(DataError, match="300 rows and its list of paths 1"):
        open_vectors(tmp_path / "v.npy")
