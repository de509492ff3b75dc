"""`cfamc-zoo embed` on archives, lists and addresses, as a user calls it."""

import io
import json
import sys

import numpy as np
import pytest

from cfamc_zoo.cli.app import run
from tests.embedding.shards import png, tar
from tests.embedding.test_archives import rows, zipped

THREE = [(f"{i}.png", png(i)) for i in range(3)]


@pytest.fixture
def embed(tiny_release, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, content in (
        *(("s.tar", tar([*THREE, ("0.json", b"{}")])), ("s.tgz", tar(THREE, "w:gz"))),
        *(("s.zip", zipped(THREE)), ("s.parquet", rows({"image": [c for _, c in THREE]}))),
        *THREE,
    ):
        (tmp_path / name).write_bytes(content)

    def call(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        out = tmp_path / "e.npy"
        code = run(
            ["embed", *arguments, "-m", str(tiny_release), "-o", str(out), "--overwrite", "--json"]
        )
        captured = capsys.readouterr()
        said = json.loads(captured.out) if captured.out else None
        vectors = np.load(out) if out.exists() else None
        return code, said, captured.err, vectors

    return call


def test_the_same_images_give_the_same_vectors_wherever_they_lie(embed):
    code, _, _, expected = embed("0.png", "1.png", "2.png")
    assert code == 0 and len(expected) == 3
    for place in ("s.tar", "s.tgz", "s.zip", "s.parquet"):
        code, said, err, vectors = embed(place)
        assert code == 0 and np.array_equal(vectors, expected)
        assert said["left_out"] == ({".json": 1} if place == "s.tar" else {})
        assert ("left out: 1 .json" in err) == (place == "s.tar")
    assert np.array_equal(embed("-", stdin=b"0.png\n1.png\n2.png\n")[3], expected)
    assert np.array_equal(embed("-", "-0", stdin=b"0.png\0s.tar\0")[3], expected[[0, 0, 1, 2]])


def test_bad_inputs_are_a_line_each_and_the_rest_is_done(embed, tmp_path):
    (tmp_path / "s.tar").write_bytes(tar(THREE)[:2000])
    code, said, err, vectors = embed("s.tar", "-", "2.png", stdin=b"gone.png\n1.png\n")
    assert code == 1 and len(vectors) == 3
    assert [bad["path"] for bad in said["unreadable"]] == ["s.tar/1.png", "s.tar", "gone.png"]
    assert "3 of 6 images could not be read" in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (["-"], b"", 1, "standard input names no images"),
        (["0.png", "--null"], b"", 2, "give - as the input"),
        (["-"], png(0), 2, "give --null"),
        (["nowhere://a"], b"", 2, "unknown protocol 'nowhere'"),
    ],
)
def test_what_cannot_be_is_one_line(embed, arguments, stdin, code, said):
    found, _, err, _ = embed(*arguments, stdin=stdin)
    assert found == code and said in err and err.count("\n") == 1


def test_only_what_is_needed_is_imported(embed, tiny_release):
    import subprocess

    heavy = {"torch", "fsspec", "aiohttp", "huggingface_hub", "pandas"}
    script = (
        "import sys, json\n"
        "from cfamc_zoo.cli.app import run\n"
        "code = run(['embed', 's.tar', 's.zip', 's.parquet', '-o', 'x.npy', '-m', sys.argv[1]])\n"
        f"print(json.dumps([code, sorted(set(sys.modules) & {heavy!r})]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_release)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
