"""Tar, zip and Parquet as inputs: what is in them, in their order, and what is wrong with them."""

import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.kinds import parquet
from tests.embedding.shards import contents, png, tar

SIX = [(f"sub/{i}.png", png(i)) for i in range(6)]
FORMS = [("s.tar", "w"), ("s.tar.gz", "w:gz"), ("s.tgz", "w:gz"), ("s.TAR.BZ2", "w:bz2")]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return open_inputs([name])


def zipped(members, **options):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(("name", "mode"), [*FORMS, ("mislabelled.tar", "w:gz")])
def test_members_of_a_shard_come_in_its_order_and_can_be_pickled(name, mode):
    found = write(name, tar(SIX[::-1], mode))
    assert found.total is None
    items = [pickle.loads(pickle.dumps(item)) for item in found]
    assert contents(items) == [(f"{name}/{n}", c) for n, c in SIX[::-1]]
    assert contents(found) == contents(items)  # from the start once more
    assert {item.modified for item in items} == {10**18}
    assert [item.size for item in items] == [len(c) for _, c in SIX[::-1]]


def test_a_plain_shard_is_not_held_in_memory():
    item = next(iter(write("s.tar", tar(SIX))))
    assert len(pickle.dumps(item)) < len(SIX[0][1])
    os.truncate("s.tar", 600)
    assert contents([item]) == [
        ("s.tar/sub/0.png", f"the archive ends after 88 of {len(SIX[0][1])} bytes")
    ]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_what_is_no_image_is_passed_over_or_counted(pack):
    others = [("a.json", b"{}"), ("b.cls", b"1"), ("._x.png", b"x"), ("__MACOSX/x.png", b"x")]
    others += [(".DS_Store", b"x"), ("d/Thumbs.db", b"x"), ("d/.hidden/x.png", b"x")]
    name = f"s.{pack.__name__[:3]}"
    found = write(name, pack([*others, ("./a.seg.PNG", SIX[0][1]), ("LICENSE", b"")]))
    assert contents(found) == [(f"{name}/a.seg.PNG", SIX[0][1])]
    assert len(list(found)) == 1
    assert found.left_out == {".json": 1, ".cls": 1, "without a suffix": 1}


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_member_that_climbs_out_stays_in_the_archives_name(pack):
    name = f"s.{pack.__name__[:3]}"
    members = ["../../etc/a.png", "/abs/b.png", "c/../../d.png", "..\\e.png"]
    found = contents(write(name, pack([(member, b"x") for member in members])))
    assert [n for n, _ in found] == [
        f"{name}/{n}" for n in ("etc/a.png", "abs/b.png", "c/d.png", "e.png")
    ]


def test_names_of_members_in_no_encoding_and_of_any_length():
    found = write("s.tar", tar([(os.fsdecode(b"\xff.png"), b"x"), ("n" * 4000 + ".png", b"y")]))
    assert contents(found) == [("s.tar/\\xff.png", b"x"), (f"s.tar/{'n' * 4000}.png", b"y")]


@pytest.mark.parametrize(("name", "mode"), FORMS)
def test_a_shard_that_is_cut_gives_what_is_whole_and_one_line(name, mode):
    members = [(f"{i}.png", os.urandom(3000)) for i in range(400)]
    whole = tar(members, mode)
    found = contents(write(name, whole[: len(whole) * 9 // 10]))
    good = [row for row in found if isinstance(row[1], bytes)]
    assert good == [(f"{name}/{n}", c) for n, c in members[: len(good)]] and len(good) > 40
    where, reason = found[-1]
    assert where == name and "images after that are not read" in reason
    assert len(found) - len(good) <= 2  # the archive, and the image in which it ends


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("size", [3, 5000, 10**15])
def test_a_member_that_lies_about_its_size_ends_the_shard_with_a_line(mode, size):
    images = [os.urandom(3000) for _ in range(3)]
    packed = tar([(f"{i}.png", image) for i, image in enumerate(images)])
    header = tarfile.TarInfo("1.png")
    header.size = size
    start = packed.index(b"1.png")  # of the second header
    altered = packed[:start] + header.tobuf(tarfile.GNU_FORMAT) + packed[start + 512 :]
    if mode == "w:gz":
        import gzip

        altered = gzip.compress(altered)
    found = contents(write("s.tar", altered))
    assert found[0] == ("s.tar/0.png", images[0])
    assert found[-1][0] == "s.tar" and "damaged or cut" in found[-1][1]
    assert ("s.tar/2.png", images[2]) not in found


def test_links_devices_and_holes_in_a_shard():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            header = tarfile.TarInfo(f"{kind.decode()}.png")
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
        big = tarfile.TarInfo("big.png")
        big.size = 1 << 40
        archive.addfile(big)
    found = write("s.tar", packed.getvalue())
    (name, reason), *_ = contents(found)
    assert name == "s.tar/big.png" and "an image in an archive may have" in reason
    assert found.left_out == {"link{s} in an archive": 2, "pipe{s}, socket{s} or device{s}": 1}


def test_images_of_a_zip_come_in_its_order_and_can_be_pickled():
    found = write("s.zip", zipped(SIX[::-1], compression=zipfile.ZIP_DEFLATED))
    assert found.total == 6
    items = [pickle.loads(pickle.dumps(item)) for item in found]
    assert contents(items) == [(f"s.zip/{n}", c) for n, c in SIX[::-1]]


def test_bad_members_of_a_zip_fail_alone():
    packed = bytearray(zipped([*SIX[:4]]))
    directory = [i for i in range(len(packed)) if packed[i : i + 4] == b"PK\x01\x02"]
    data = packed.index(SIX[1][1])
    packed[data + 5] ^= 255  # its checksum does not hold
    packed[directory[2] + 8] |= 1  # encrypted, it says
    struct.pack_into("<I", packed, directory[3] + 24, 1 << 31)  # its size when unpacked
    found = contents(write("s.zip", bytes(packed)))
    assert found[0] == ("s.zip/sub/0.png", SIX[0][1])
    for (_, reason), said in zip(
        found[1:], ("damaged", "encrypted; unpack", "may have"), strict=True
    ):
        assert said in reason


@pytest.mark.parametrize("name", ["s.zip", "s.tar", "s.parquet", "s.tar.gz"])
@pytest.mark.parametrize("content", [b"", b"<html>no archive</html>" * 99, b"PK\x03\x04PAR1\x1f"])
def test_what_is_no_archive_is_one_line(name, content):
    assert [name] == [n for n, reason in contents(write(name, content)) if type(reason) is str]


def rows(images, **options):
    packed = io.BytesIO()
    pq.write_table(pa.table(images), packed, **options)
    return packed.getvalue()


LAYOUTS = {
    "hub": lambda values: {
        "label": [1] * len(values),
        "image": [{"bytes": v, "path": "x.png"} for v in values],
    },
    "binary": lambda values: {"text": ["a"] * len(values), "png": values},
    "large": lambda values: {"png": pa.array(values, pa.large_binary())},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kept", [parquet.KEPT, 0])
def test_rows_of_parquet_come_by_row_group_and_can_be_pickled(layout, kept, monkeypatch):
    monkeypatch.setattr(parquet, "KEPT", kept)
    values = [c for _, c in SIX[:5]] + [None, SIX[5][1]]
    found = write("s.parquet", rows(LAYOUTS[layout](values), row_group_size=3))
    assert found.total == 7
    items = [pickle.loads(pickle.dumps(item)) for item in found]
    expected = [(f"s.parquet#{i}", v or "the row holds no image") for i, v in enumerate(values)]
    assert contents(items) == expected
    assert contents(items[::-1]) == expected[::-1]


def test_row_groups_are_read_once_and_let_go(monkeypatch):
    reads, read = [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda *a, **k: reads.append(a[1]) or read(*a, **k)
    )
    values = [bytes(1000)] * 40
    found = write("once.parquet", rows({"image": values}, row_group_size=10))
    monkeypatch.setattr(parquet, "KEPT", 25_000)
    assert len(contents(found)) == 40
    assert reads == [0, 1, 2, 3]
    assert parquet.GROUPS._bytes() <= 25_000
    monkeypatch.setattr(parquet, "MANY", 3)
    found = write("small.parquet", rows({"image": [b"1"] * 40}, row_group_size=2))
    assert len(contents(found)) == 40
    assert len(reads) == 4 + 20 and len(parquet.GROUPS._read) == 3


def test_parquet_without_images_names_its_columns():
    found = write("e.parquet", rows({"path": ["a"], "embedding": [[1.0]]}))
    assert contents(found) == [("e.parquet", "no column of images; its columns: path, embedding")]


def test_parquet_that_is_cut_fails_in_a_line():
    packed = rows({"image": [os.urandom(2000) for _ in range(40)]}, row_group_size=10)
    assert len(contents(write("s.parquet", packed[: len(packed) // 2]))) == 1
    hole = bytearray(packed)
    hole[25_000:45_000] = bytes(20_000)
    found = contents(write("hole.parquet", bytes(hole)))
    assert len(found) == 40 and sum(isinstance(c, bytes) for _, c in found) in range(10, 40)


def test_archives_in_a_folder_are_named_in_the_line_that_finds_no_images():
    Path("shards").mkdir()
    with open("shards/s.tar", "wb") as file:
        file.write(tar(SIX))
    with pytest.raises(Exception, match="1 .tar.*archives and Parquet files by name or pattern"):
        open_inputs(["shards"])
    assert len(list(open_inputs(["shards/*.tar"]))) == 6
