"""The one rule by which folders are read."""

import os
import socket
from collections import Counter

import pytest

from cfamc_zoo import folders
from cfamc_zoo.errors import DataError
from cfamc_zoo.folders import describe, find_below, find_labelled, find_parts, image_suffixes


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(b"x")


def below(root):
    return [str(p.relative_to(root)) for p in find_below(root).paths]


def test_hidden_names_and_droppings_are_passed_over_without_a_word(tmp_path):
    make(tmp_path, "a/1.png", "a/._1.png", "a/.DS_Store", "a/Thumbs.db", "desktop.ini")
    make(tmp_path, "__MACOSX/a/1.png", ".ipynb_checkpoints/1-checkpoint.png", "a/.hidden/2.png")
    make(tmp_path, "a/@eaDir/1.png", "THUMBS.DB")
    found = find_below(tmp_path)
    assert below(tmp_path) == ["a/1.png"] and not found.left_out
    labelled = find_labelled(tmp_path)
    assert labelled.classes == ("a",) and not labelled.left_out


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path):
    make(tmp_path, ".photos/1.png")
    assert len(find_below(tmp_path / ".photos").paths) == 1


def test_everything_below_a_first_level_folder_belongs_to_its_class(tmp_path):
    make(tmp_path, "cat/1.png", "cat/day 1/deep/2.png", "dog/2024/cat/3.png", "cat/cat/4.png")
    found = find_labelled(tmp_path)
    assert found.classes == ("cat", "dog")
    assert [(p.name, found.classes[i]) for p, i in zip(found.paths, found.labels, strict=True)] == [
        ("1.png", "cat"),
        ("4.png", "cat"),
        ("2.png", "cat"),
        ("3.png", "dog"),
    ]


def test_a_class_is_a_folder_even_where_its_name_looks_like_a_file(tmp_path):
    make(tmp_path, "x.png/x.png", "y.png/1.png", "z.png")
    found = find_labelled(tmp_path)
    assert found.classes == ("x.png", "y.png")
    assert found.left_out == {folders.NO_CLASS: 1}


SUFFIXES = image_suffixes()


def test_what_is_left_out_is_counted_by_its_reason(tmp_path, monkeypatch):
    make(tmp_path, "a/1.png", "a/2.heic", "b/3.HEIC", "b/4.jpg", "loose.jpg", "too.bmp")
    monkeypatch.setattr(folders, "image_suffixes", lambda: SUFFIXES - {".heic"})
    make(tmp_path, "notes.txt", "LICENSE", "empty/", "full of texts/readme.md")
    found = find_labelled(tmp_path)
    assert [p.name for p in found.paths] == ["1.png", "4.jpg"]
    assert found.classes == ("a", "b")
    assert found.left_out[".heic"] == 2
    assert "2 .heic (`pip install pillow-heif`" in describe(found.left_out)
    said = describe(found.left_out)
    for part in ("1 .txt", "1 .md", "1 without a suffix", "2 without a class folder"):
        assert part in said
    assert "2 class folders without images" in said
    assert describe(Counter()) == ""


def test_a_line_on_what_was_left_out_stays_a_line(tmp_path):
    make(tmp_path, *(f"{i}.suffix{i}" for i in range(30)), "x.png")
    said = describe(find_below(tmp_path).left_out)
    assert said.count("suffix") == folders.SHOWN + 1 and "24 of other suffixes" in said


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path):
    make(tmp_path, "ds/cat/1.png", "store/dog/2.png", "store/dog/deep/3.png")
    (tmp_path / "ds" / "dog").symlink_to(tmp_path / "store" / "dog")
    (tmp_path / "ds" / "a cat").symlink_to("cat")  # first by name, and still only a link
    (tmp_path / "ds" / "cat" / "up").symlink_to("..")
    (tmp_path / "store" / "dog" / "round").symlink_to(tmp_path / "store" / "dog")
    found = find_labelled(tmp_path / "ds")
    assert found.classes == ("cat", "dog")
    assert [(p.name, i) for p, i in zip(found.paths, found.labels, strict=True)] == [
        ("1.png", 0),
        ("2.png", 1),
        ("3.png", 1),
    ]
    assert found.left_out[folders.AGAIN] == 3


def test_links_to_images_are_images(tmp_path):
    make(tmp_path, "store/1.png", "ds/a/")
    (tmp_path / "ds" / "a" / "1.png").symlink_to(tmp_path / "store" / "1.png")
    assert find_labelled(tmp_path / "ds").classes == ("a",)


def test_what_cannot_be_read_is_counted(tmp_path, monkeypatch):
    make(tmp_path, "a/1.png", "locked/2.png")
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)
        server.bind("a/socket.png")
    (tmp_path / "a" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_below(tmp_path)
    assert [p.name for p in found.paths] == ["1.png"]
    assert found.left_out == {
        folders.BROKEN: 2,
        folders.SPECIAL: 2,
        folders.UNDECODABLE: 1,
        folders.CLOSED: 1,
    }
    assert "2 broken links" in describe(found.left_out)
    assert "1 folder that cannot be read" in describe(found.left_out)


def test_suffixes_are_those_that_can_be_decoded_here():
    known = image_suffixes()
    assert {".jpg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".mpo"} <= known
    assert not {".eps", ".pdf", ".mpg", ".h5", ".wmf", ".txt"} & known


def test_suffixes_that_pillow_was_built_without_are_left_out(tmp_path, monkeypatch):
    from PIL import features

    check = features.check
    monkeypatch.setattr(features, "check", lambda name: name != "webp" and check(name))
    image_suffixes.cache_clear()
    try:
        make(tmp_path, "a.webp", "b.png")
        assert find_below(tmp_path).left_out == {".webp": 1}
    finally:
        image_suffixes.cache_clear()


def test_without_class_folders_images_have_no_labels(tmp_path):
    make(tmp_path, "b.png", "a.png", "empty/")
    found = find_labelled(tmp_path)
    assert [p.name for p in found.paths] == ["a.png", "b.png"]
    assert found.classes == () and found.labels == [0, 0] and found.name == tmp_path.name


def test_no_images_says_what_there_was(tmp_path):
    make(tmp_path, "a/1.txt", "a/2.txt")
    with pytest.raises(DataError, match=r"holds no images \(left out: 2 \.txt\)"):
        find_labelled(tmp_path)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train/a/1.png", "test/a/1.png"], ("train", "test")),
        (["Train/a/1.png", "Validation/a/1.png"], ("Train", "Validation")),
        (["train/1.png", "val/1.png", "test/1.png"], ("train", "test")),
        (["train/a/1.png", "plane/1.png"], None),
        (["train/a/1.png", "test"], None),
    ],
)
def test_a_folder_in_two_parts(tmp_path, names, parts):
    make(tmp_path, *names)
    assert find_parts(tmp_path) == (parts and tuple(tmp_path / part for part in parts))


def test_the_name_of_a_folder_is_its_own_however_it_is_given(tmp_path, monkeypatch):
    make(tmp_path, "my photos/1.png")
    monkeypatch.chdir(tmp_path / "my photos")
    assert find_labelled(folders.Path(".")).name == "my photos"
