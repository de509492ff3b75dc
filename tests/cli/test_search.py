"""`cfamc-zoo search` as a user calls it: answers, pages, and what is refused."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import cfamc_zoo
from cfamc_zoo.cli.app import run
from tests.evaluation.test_report import Balanced

N = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory, sample, tiny_release):
    """Twelve images, the last one as the first but for a pixel, and their vectors."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "images").mkdir()
    for i, pixels in enumerate([*sample.images[: N - 1], sample.images[0]]):
        pixels = pixels.copy()
        pixels[0, 0] = pixels[0, 0] // 2 + i
        Image.fromarray(pixels).save(folder / f"images/{i:02}.png")
    for suffix in ("parquet", "npy", "csv"):
        command = ["embed", str(folder / "images"), "-m", str(tiny_release)]
        assert run([*command, "-o", str(folder / f"v.{suffix}")]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def search(here, tiny_release, capsys):
    """Calls it with the release that made the vectors, as a folder has no name to be found by."""

    def search(*arguments, code=0, model=tiny_release):
        given = ["-m", str(model)] if model else []
        capsys.readouterr()
        assert run(["search", *map(str, arguments), *given]) == code, capsys.readouterr().err
        return capsys.readouterr()

    return search


def answers(done):
    return json.loads(done.out)["queries"]


def test_rows_paths_and_images_find_the_same(search, made, here):
    stored = str(made / "images/03.png")
    shutil.copy(stored, here / "another name.png")
    done = search("row:3", stored, "another name.png", "--in", "v.parquet", "-k", 4, "--json")
    row, path, image = answers(done)
    assert (row["row"], path["row"], image["row"]) == (3, 3, None)
    assert row["neighbours"] == path["neighbours"]
    first, *others = image["neighbours"]
    assert first["path"] == stored and first["similarity"] == pytest.approx(1, abs=1e-6)
    assert [n["path"] for n in others] == [n["path"] for n in row["neighbours"]][:3]
    assert [n["rank"] for n in image["neighbours"]] == [1, 2, 3, 4]

    vectors = np.stack(pq.read_table("v.parquet")["embedding"].to_numpy()).astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.argsort(-unit @ unit[3])[1:5]
    assert [n["row"] for n in row["neighbours"]] == expected.tolist()
    said = json.loads(done.out)
    assert (said["model"], said["rows"], said["method"]) == ("tiny", N, "exact")


def test_a_table_of_every_format(search, made):
    tables = {search("row:0", "--in", f"v.{s}", "-k", 2).out for s in ("parquet", "npy", "csv")}
    (table,) = tables
    header, first, second = table.splitlines()
    assert header.split("\t") == ["query", "rank", "similarity", "path"]
    query, rank, similarity, path = first.split("\t")
    assert (query, rank, path) == ("row:0", "1", str(made / "images/11.png"))
    assert 0.99 < float(similarity) <= 1
    assert second.split("\t")[1] == "2"


def test_python_says_the_same(here, made, sample, tiny_release):
    (byrow,) = cfamc_zoo.search(3, here / "v.parquet", k=2)
    image = Image.open(made / "images/03.png")
    (byimage,) = cfamc_zoo.search(image, here / "v.parquet", k=3, model=str(tiny_release))
    assert [n.row for n in byimage.neighbours] == [3, *(n.row for n in byrow.neighbours)]
    several = cfamc_zoo.search(["row:3", 4, image], here / "v.npy", k=2, model=str(tiny_release))
    assert [answer.query.row for answer in several] == [3, 4, None]
    for one, other in zip(several[0].neighbours, byrow.neighbours, strict=True):
        assert (one.row, one.path) == (other.row, other.path)
        assert one.similarity == pytest.approx(other.similarity, abs=1e-6)


def test_duplicates(search, made):
    nearest = answers(search("row:0", "--in", "v.parquet", "-k", 1, "--json"))[0]["neighbours"][0]
    assert nearest["row"] == 11
    least = nearest["similarity"] - 1e-5
    arguments = ["--duplicates", "--threshold", least, "--in", "v.parquet", "--json"]
    said = json.loads(search(*arguments, model=None).out)
    assert [[m["row"] for m in group] for group in said["groups"]] == [[0, 11]]
    assert said["groups"][0][0]["path"] == str(made / "images/00.png")
    assert json.loads(search("--duplicates", "--in", "v.npy", "--json").out)["threshold"] == 0.99
    done = search("--duplicates", "--threshold", least, "--in", "v.parquet", model=None)
    assert [line.split("\t")[0] for line in done.out.splitlines()] == ["group", "1", "1"]
    assert "2 of 12 images in 1 group of near-duplicates" in done.err


def pictures(page):
    """Those of each section: queries, and the lines of answers."""
    return [
        [len(re.findall("<li", part)) for part in re.findall("<ul.*?</ul>", section, re.DOTALL)]
        for section in page.split("<section>")[1:]
    ]


def check(page):
    parser = Balanced()
    parser.feed(page.replace("<wbr>", "").replace("<!doctype html>", ""))
    assert parser.open == []
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<img") == page.count("<img alt=")


def test_a_page_of_neighbours_stands_alone_and_says_what_is_gone(search, here, made):
    for name in ("gone.png", "text.png", "<b>.png"):
        shutil.copy(made / "images/05.png", here / name)
    (here / "set").mkdir()
    names = ["images/00.png", "gone.png", "text.png", "<b>.png"]
    vectors = np.random.default_rng(0).random((4, 32), np.float32)
    np.save(here / "set/v.npy", vectors)
    shutil.move(here / "images", here / "set/images")  # beside the vectors
    (here / "set/v.npy.paths.txt").write_text("".join(json.dumps(n) + "\n" for n in names))
    (here / "gone.png").unlink()
    (here / "text.png").write_text("no image")
    done = search("row:0", "--in", "set/v.npy", "-k", 3, "--html", "page.html")
    page = (here / "page.html").read_text()
    check(page)
    assert pictures(page) == [[1, 3]]
    assert page.count("no picture: the file is gone<") == 1
    assert page.count("no picture: not an image") == 1
    assert "no picture of 2 images" in done.err
    assert "<b>.png" not in page and "&lt;b&gt;." in page
    assert "cfamc-zoo" in page


def test_a_page_of_duplicates(search, here):
    search("--duplicates", "--in", "v.parquet", "--threshold", 0.999, "--html", "page.html")
    page = (here / "page.html").read_text()
    check(page)
    assert [2] in pictures(page) and "Group 1: " in page
    assert "are shown" not in page
    done = search("--duplicates", "--in", "v.parquet", "--html", "page.html", code=2)
    assert "is already there" in done.err


def test_a_page_is_never_too_long_to_be_opened(search, here):
    random = np.random.default_rng(0)
    pairs = np.repeat(random.standard_normal((210, 32)), 2, axis=0)
    many = np.repeat(random.standard_normal((1, 32)), 70, axis=0)
    np.save("v.npy", np.concatenate([pairs, many]).astype(np.float32))
    (here / "v.npy.paths.txt").unlink()
    search("--duplicates", "--in", "v.npy", "--html", "page.html", model=None)
    page = (here / "page.html").read_text()
    assert pictures(page) == [[60], *[[2]] * 199]
    assert "Group 1: 70 images" in page and "The first 60 are shown." in page
    assert "The largest 200 of 211 groups are shown." in page


def test_an_attacked_query_stands_beside_itself(search, here, made):
    done = search(
        "row:3", "images/04.png", "--in", "v.parquet", "-k", 5, "--attacked", "--json",
        *("--html", "page.html"),
    )  # fmt: skip
    for query, line in zip(answers(done), done.err.splitlines(), strict=True):
        before = {n["row"] for n in query["neighbours"]}
        after = {n["row"] for n in query["attacked"]["neighbours"]}
        assert query["attacked"]["kept"] == len(before & after)
        assert f"{len(before & after)} of 5 neighbours stay" in line
        assert -1 <= query["attacked"]["similarity_to_itself"] < 0.9999
        assert 3 not in after or query["row"] is None
    page = (here / "page.html").read_text()
    check(page)
    assert pictures(page) == [[2, 5, 5], [2, 5, 5]]
    new = sum(5 - q["attacked"]["kept"] for q in answers(done))
    assert page.count("<em>new</em>") == new

    table = search("row:3", "--in", "v.parquet", "-k", 2, "--attacked", "--eps", "0").out
    for line in table.splitlines()[1:]:
        _, _, similarity, path, attacked, attacked_path = line.split("\t")
        assert (similarity, path) == (attacked, attacked_path), "an attack of radius 0 is none"


def test_an_index_is_built_kept_and_checked(search, here):
    exact = search("row:3", "--in", "v.parquet", "-k", 5).out
    first = search("row:3", "--in", "v.parquet", "-k", 5, "--index", "ix")
    assert first.out == exact and "it finds 100.0% of the 10 nearest" in first.err
    before = (here / "ix").stat()
    again = search("row:3", "--in", "v.parquet", "-k", 5, "--index", "ix", "--json")
    assert json.loads(again.out)["method"] == "index" and json.loads(again.out)["recall"] == 1
    assert (here / "ix").stat() == before
    done = search("row:3", "--in", "v.npy", "-k", 5, "--index", "ix", code=2)
    assert "index 'ix' is not of 'v.npy'" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("row:0 --in gone.parquet", 2, "'gone.parquet' does not exist"),
        ("row:0 --in images/00.png", 2, "unknown format of vectors '.png'"),
        ("--in v.parquet", 2, "no query; give image files"),
        ("gone.png --in v.parquet", 2, "query 'gone.png' is no file, and no path of"),
        ("text.png --in v.parquet", 1, "not an image"),
        ("images --in v.parquet", 1, "a folder"),
        ("row:12 --in v.parquet", 2, "row 12 is not in 'v.parquet'; give 0 to 11"),
        ("row:0 -k 12 --in v.parquet", 2, "has 11 vectors besides the query; give 1 to 11"),
        ("images/00.png -k 13 --in v.parquet", 2, "has 12 vectors; give 1 to 12"),
        ("row:0 -k 0 --in v.parquet", 2, "k is 0"),
        ("--duplicates --threshold 1.5 --in v.parquet", 2, "over 0 and at most 1"),
        ("--duplicates --threshold nan --in v.parquet", 2, "over 0 and at most 1"),
        ("row:0 --duplicates --in v.parquet", 2, "a query is for a search without --duplicates"),
        ("--duplicates -k 3 --in v.parquet", 2, "-k is for a search without --duplicates"),
        ("row:0 --threshold 0.9 --in v.parquet", 2, "--threshold is for a search with"),
        ("row:0 --eps 1/255 --in v.parquet", 2, "--eps is for a search with --attacked"),
        ("row:0 --attacked --eps 8 --in v.parquet", 2, "did you mean 8/255?"),
        ("row:0 --html page.txt --in v.parquet", 2, "must end in .html"),
        ("row:0 --html no/page.html --in v.parquet", 2, "create it first"),
        ("row:0 --index no/ix --in v.parquet", 2, "create it first"),
        ("row:0 --features representation --in v.parquet", 2, "holds the backbone, not the"),
        ("row:0 --features backbon --in v.npy", 2, "did you mean backbone?"),
        ("images/00.png -k 2 --in other.npy", 2, "vectors of 7 values, and the backbone of tiny"),
        ("row:1 -k 2 --in zeros.npy", 1, "query 'row:1' has a vector of zeros"),
        ("row:0 -k 2 --attacked --in other.npy", 2, "vectors of 7 values"),
        ("row:0 -k 1 --attacked --in gone.npy", 1, "cannot be attacked: image 'gone.png': the"),
    ],
)
def test_what_cannot_be_done_is_one_line(search, here, arguments, code, said):
    (here / "text.png").write_text("no image")
    random = np.random.default_rng(0)
    np.save("other.npy", random.random((4, 7), np.float32))
    np.save("zeros.npy", np.concatenate([np.ones((1, 32)), np.zeros((3, 32))]).astype("f4"))
    np.save("gone.npy", random.random((2, 32), np.float32))
    (here / "gone.npy.paths.txt").write_text('"gone.png"\n"b"\n')
    done = search(*arguments.split(), code=code)
    assert said in done.err
    assert done.err.count("\n") == 1 and done.out == ""
    assert not (here / "page.html").exists() and not (here / "ix").exists()


def test_the_model_is_the_one_that_made_the_vectors(search, here, tiny_release):
    done = search("images/00.png", "--in", "v.parquet", "-k", 3, model=None, code=2)
    assert "made by 'tiny'" in done.err and "give -m with its folder" in done.err
    done = search("images/00.png", "--in", "v.npy", "-k", 3, model=None, code=2)
    assert "does not say which model made it; give -m" in done.err
    other = "resnet18-thin-cifar10-free"
    for query in ("row:0", "images/00.png"):
        done = search(query, "--in", "v.parquet", "-k", 3, model=other, code=2)
        assert "was made by tiny (sha256" in done.err and f"not by {other}" in done.err
        assert done.err.count("\n") == 1

    table = pq.read_table("v.parquet")
    said = dict(table.schema.metadata)
    said[b"preprocessing"] = said[b"preprocessing"].replace(b'"version": ', b'"version": 9')
    pq.write_table(table.replace_schema_metadata(said), "old.parquet")
    done = search("images/00.png", "--in", "old.parquet", "-k", 3, code=2)
    assert "with another preprocessing of images" in done.err


@pytest.mark.parametrize(
    ("query", "absent"),
    [("row:3", "torch onnxruntime pandas"), ("images/03.png", "torch pandas")],
)
def test_what_a_search_does_not_import(here, tiny_release, query, absent):
    script = (
        "import sys\n"
        "from cfamc_zoo.cli.app import run\n"
        f"command = ['search', {query!r}, '--in', 'v.parquet', '-k', '3', '-m']\n"
        f"assert run([*command, {str(tiny_release)!r}, '--html', 'page.html']) == 0\n"
        f"print([m for m in {absent.split()!r} if m in sys.modules])\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
