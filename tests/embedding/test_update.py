"""`embed --update`: keeps what stays, embeds what is new or changed, drops what is gone."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding import job, rows
from cfamc_zoo.embedding.known import moved
from cfamc_zoo.embedding.update import roots_of


@pytest.fixture
def images(tmp_path, monkeypatch, sample):
    monkeypatch.chdir(tmp_path)
    for i in range(8):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.images[i]).save(path)
    return tmp_path / "images"


@pytest.fixture
def embed(images, tiny_release, capsys, monkeypatch):
    """Runs the command; gives exit code, what it said, and the images that the model saw."""
    seen = []
    embed_files = job.embed_files

    def watched(items, **options):
        def noted():
            for item in items:
                seen.append(item.name)
                yield item

        return embed_files(noted(), **options)

    monkeypatch.setattr(job, "embed_files", watched)

    def call(*arguments, model=tiny_release):
        seen.clear()
        code = run(["embed", *map(str, arguments), "-m", str(model), "--threads", "1"])
        return code, capsys.readouterr().err, [*seen]

    return call


def table_of(path):
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


def vectors_of(path):
    table = table_of(path).to_pydict()
    return dict(zip(table["path"], table["embedding"], strict=True))


@pytest.mark.parametrize("output", ["e.parquet", "e/"])
def test_only_what_changed_goes_through_the_model(embed, images, tmp_path, sample, output):
    code, said, seen = embed("images", "-o", output, "--update")
    assert code == 0 and "0 kept, 8 embedded, 0 dropped" in said and len(seen) == 8
    (images / "a" / "2.png").unlink()
    Image.fromarray(sample.images[20]).save(images / "a" / "0.png")
    Image.fromarray(sample.images[21]).save(images / "b" / "55.png")
    code, said, seen = embed("images", "-o", output, "--update")
    assert code == 0 and "6 kept, 2 embedded, 1 dropped" in said
    assert seen == ["images/a/0.png", "images/b/55.png"]
    assert embed("images", "-o", "fresh.parquet", "--columns", "size,mtime")[0] == 0
    updated, fresh = table_of(tmp_path / output), table_of(tmp_path / "fresh.parquet")
    for name in ("path", "size", "mtime"):
        assert updated.column(name).equals(fresh.column(name))
    ours, theirs = (np.stack(t.column("embedding").to_pylist()) for t in (updated, fresh))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_kept_vectors_are_the_same_bits_in_the_order_of_the_inputs(embed, images, tmp_path):
    assert embed("images/a", "images/b", "-o", "e.parquet", "--update")[0] == 0
    before = vectors_of(tmp_path / "e.parquet")
    code, said, seen = embed("images/b", "images/a", "-o", "e.parquet", "--update")
    assert code == 0 and "8 kept, 0 embedded, 0 dropped" in said and not seen
    after = vectors_of(tmp_path / "e.parquet")
    assert after == before and [*after] != [*before]
    assert next(iter(after)).startswith("images/b")


def test_memory_stays_flat_where_nearly_all_is_known(embed, images, tmp_path, monkeypatch, sample):
    """The stream through the model is cut after so many known images, and begins anew."""
    assert embed("images", "-o", "e.parquet", "--update")[0] == 0
    monkeypatch.setattr(rows, "ROUND", 2)
    for name, i in (("a/0.png", 30), ("b/5.png", 31), ("b/9.png", 32)):
        Image.fromarray(sample.images[i]).save(images / name)
    most = 0
    piece = rows.Rows._piece

    def measured(self, entries, batch):
        nonlocal most
        most = max(most, len(entries))
        return piece(self, entries, batch)

    monkeypatch.setattr(rows.Rows, "_piece", measured)
    code, said, seen = embed("images", "-o", "e.parquet", "--update")
    assert code == 0 and "6 kept, 3 embedded, 0 dropped" in said
    assert seen == ["images/a/0.png", "images/b/5.png", "images/b/9.png"]
    assert most <= 3
    assert [*vectors_of(tmp_path / "e.parquet")] == sorted(vectors_of(tmp_path / "e.parquet"))


def test_a_moved_folder_keeps_its_vectors(embed, images, tmp_path):
    assert embed("images", "-o", "e.parquet", "--update")[0] == 0
    before = [*vectors_of(tmp_path / "e.parquet").values()]
    (tmp_path / "elsewhere").mkdir()
    images.rename(tmp_path / "elsewhere" / "photos")
    code, said, _ = embed(tmp_path / "elsewhere" / "photos", "-o", "e.parquet", "--update")
    assert code == 0 and "8 kept, 0 embedded, 0 dropped" in said
    after = vectors_of(tmp_path / "e.parquet")
    assert [*after.values()] == before
    assert all(name.startswith(str(tmp_path / "elsewhere" / "photos")) for name in after)


@pytest.mark.parametrize(
    ("old", "new", "name", "expected"),
    [
        (["a"], ["b"], "b/1.png", "a/1.png"),
        (["a"], ["."], "1.png", "a/1.png"),
        (["."], ["/x/a"], "/x/a/1.png", "1.png"),
        (["a"], ["a"], "a/1.png", "a/1.png"),
        (["a", "b"], ["b", "/x/a"], "/x/a/1.png", "a/1.png"),
        (["a", "b"], ["/x/b", "/x/a"], "/x/b/1.png", "b/1.png"),
        # Which of the old ones it was cannot be said.
        (["a", "b"], ["c", "d"], "c/1.png", "c/1.png"),
        (["x/a", "y/a"], ["z/a", "c"], "z/a/1.png", "z/a/1.png"),
        # What came beside the old folder is not in it.
        (["a"], ["a", "b"], "b/1.png", "b/1.png"),
        (["a"], ["b"], "bb/1.png", "bb/1.png"),
    ],
)
def test_names_below_a_moved_folder(old, new, name, expected):
    assert moved(old, new)(name) == expected


def test_the_folders_of_inputs(images):
    assert roots_of(["images", "images/a/0.png", "images/*/2.png", "-", "s3://b/i"]) == (
        "images",
        "images/a",
    )
    assert roots_of(["images/a/"]) == ("images/a",)


def test_by_content_times_do_not_count(embed, images, tmp_path, sample):
    arguments = ("images", "-o", "e.parquet", "--update", "--by", "content")
    assert embed(*arguments)[0] == 0
    for path in images.rglob("*.png"):
        os.utime(path, ns=(0, 0))
    changed = images / "b" / "3.png"
    size = changed.stat().st_size
    content = bytearray(changed.read_bytes())
    Image.fromarray(sample.images[40]).save(changed)
    changed.write_bytes(changed.read_bytes().ljust(size, b"\0"))
    os.utime(changed, ns=(0, 0))
    assert content != changed.read_bytes()
    code, said, seen = embed(*arguments)
    assert code == 0 and "7 kept, 1 embedded, 0 dropped" in said and seen == ["images/b/3.png"]


def test_columns_of_the_older_output_stay(embed, images, tmp_path):
    wanted = "width,sha256,size,mtime"
    assert embed("images", "-o", "e.parquet", "--columns", wanted)[0] == 0
    (images / "a" / "0.png").unlink()
    code, said, _ = embed("images", "-o", "e.parquet", "--update")
    assert code == 0 and "7 kept, 0 embedded, 1 dropped" in said
    assert table_of(tmp_path / "e.parquet").column_names == [
        *("path", "embedding", "width", "sha256", "size", "mtime")
    ]
    assert table_of(tmp_path / "e.parquet").column("width").to_pylist() == [32] * 7


def test_what_can_no_longer_be_read_is_dropped_and_tried_each_time(embed, images, tmp_path):
    assert embed("images", "-o", "e.parquet", "--update")[0] == 0
    (images / "a" / "0.png").write_text("no image")
    for dropped in (1, 0):
        code, said, seen = embed("images", "-o", "e.parquet", "--update")
        assert code == 1 and f"7 kept, 0 embedded, {dropped} dropped" in said
        assert seen == ["images/a/0.png"] and "unreadable: images/a/0.png" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--features", "representation"], "another feature, backbone, not representation"),
        (["--normalize"], "another scaling, none, not unit"),
        (["--backend", "torch", "--device", "cpu"], "another backend, onnx, not torch"),
        (["--dtype", "float16"], "32 values of float32, not 32 values of float16"),
        (["--columns", "width"], "lacks the columns that this needs (width)"),
        (["--by", "content"], "lacks the columns that this needs (sha256); give --by mtime, or"),
        (["--overwrite"], "give one of them"),
    ],
)
def test_an_output_of_another_kind_is_refused_and_stays(embed, tmp_path, arguments, said):
    assert embed("images", "-o", "e.parquet", "--update")[0] == 0
    before = (tmp_path / "e.parquet").read_bytes()
    code, err, seen = embed("images", "-o", "e.parquet", "--update", *arguments)
    assert code == 2 and said in err and err.count("\n") == 1 and not seen
    assert (tmp_path / "e.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_another_models_output_is_refused(embed, tmp_path):
    assert embed("images", "-o", "e.parquet", "--update")[0] == 0
    table = table_of(tmp_path / "e.parquet")
    others = {**table.schema.metadata, b"model": b"other", b"sha256": b"0" * 64}
    pq.write_table(table.replace_schema_metadata(others), tmp_path / "e.parquet")
    code, err, _ = embed("images", "-o", "e.parquet", "--update")
    assert code == 2 and "is of another model, other, not tiny" in err


def test_outputs_that_cannot_be_updated_say_what_they_lack(embed, tmp_path):
    assert embed("images", "-o", "e.parquet")[0] == 0
    code, err, _ = embed("images", "-o", "e.parquet", "--update")
    assert code == 2 and "(size, mtime); make it anew once with --overwrite --columns" in err
    code, err, _ = embed("images", "-o", "e.csv", "--update")
    assert code == 2 and "says what made it" in err and ".parquet" in err
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    code, err, _ = embed("images", "-o", "other.parquet", "--update")
    assert code == 2 and "does not say what made it" in err
    (tmp_path / "broken.parquet").write_text("no Parquet")
    code, err, _ = embed("images", "-o", "broken.parquet", "--update")
    assert code == 1 and "not Parquet that can be read" in err and err.count("\n") == 1


def test_the_numbers_are_in_the_answer_for_programs(images, tiny_release, capsys):
    command = ["embed", "images", "-o", "e.parquet", "--update", "--json", "-m", str(tiny_release)]
    assert run(command) == 0
    capsys.readouterr()
    (images / "a" / "0.png").unlink()
    assert run(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["written"], said["kept"], said["dropped"]) == (7, 7, 1)
