import os

import pytest

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.errors import DataError, UsageError


@pytest.fixture
def tree(tmp_path):
    for name in ("b.PNG", "a.jpg", "deep/er/c.webp", "notes.txt", "x[1].png", "deep/.hidden.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def names(found, root):
    return [os.path.relpath(item.name, root) for item in found]


def test_folders_are_searched_in_depth_for_any_case_of_the_suffixes(tree):
    found = names(open_inputs([str(tree)]), tree)
    assert found == ["a.jpg", "b.PNG", "deep/er/c.webp", "x[1].png"]


def test_files_are_taken_whatever_their_suffix_and_once(tree):
    one = str(tree / "notes.txt")
    assert names(open_inputs([one, str(tree / "a.jpg"), one]), tree) == ["notes.txt", "a.jpg"]


def test_patterns(tree):
    assert names(open_inputs([str(tree / "*.PNG")]), tree) == ["b.PNG"]
    assert names(open_inputs([str(tree / "**" / "*.webp")]), tree) == ["deep/er/c.webp"]
    assert names(open_inputs([str(tree / "dee?")]), tree) == ["deep/er/c.webp"]
    assert names(open_inputs([str(tree / "x[1].png")]), tree) == ["x[1].png"]


def test_a_hidden_file_that_is_named_is_taken(tree):
    one = str(tree / "deep" / ".hidden.gif")
    assert names(open_inputs([one]), tree) == ["deep/.hidden.gif"]
    assert names(open_inputs([str(tree / "deep" / ".*.gif")]), tree) == ["deep/.hidden.gif"]


def test_a_pattern_that_matches_folders_counts_what_they_leave_out_once(tree):
    (tree / "__MACOSX").mkdir()
    (tree / "__MACOSX" / "a.jpg").write_text("")
    (tree / "deep" / "er" / "c.txt").write_text("")
    found = open_inputs([str(tree / "**")])
    assert names(found, tree) == ["a.jpg", "b.PNG", "deep/er/c.webp", "x[1].png"]
    assert found.left_out == {".txt": 2}


def test_what_folders_leave_out_is_counted(tree):
    assert open_inputs([str(tree), str(tree / "notes.txt")]).left_out == {".txt": 1}


def test_a_name_that_no_output_can_hold_is_refused(tree):
    name = str(tree / os.fsdecode(b"\xff.png"))
    with pytest.raises(UsageError, match="rename it"):
        open_inputs([name])


def test_names_that_are_hard_to_print(tmp_path):
    for name in ("zwei\nZeilen.png", "žluťoučký.png", "空.png"):
        (tmp_path / name).write_text("")
    assert open_inputs([str(tmp_path)]).total == 3


def test_what_is_not_there(tree):
    with pytest.raises(UsageError, match="does not exist"):
        open_inputs([str(tree / "gone.png")])
    with pytest.raises(UsageError, match="matches nothing"):
        open_inputs([str(tree / "*.bmp")])
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        open_inputs([str(tree / "empty")])


def test_each_file_comes_once_whichever_way_it_is_named(tree):
    deep, one = str(tree / "deep"), str(tree / "a.jpg")
    (tree / "deep/d.png").write_text("")
    every = names(open_inputs([str(tree)]), tree)
    assert names(open_inputs([str(tree), deep, one, f"{tree}/./b.PNG"]), tree) == every
    found = open_inputs([one, deep, str(tree)])
    assert names(found, tree) == ["a.jpg", "deep/d.png", "deep/er/c.webp", "b.PNG", "x[1].png"]
    assert found.total == 5
    found = open_inputs([str(tree / "deep/d.png"), str(tree / "*.jpg"), deep, f"{tree}/deep/**"])
    assert names(found, tree) == ["deep/d.png", "a.jpg", "deep/er/c.webp"]


def test_names_of_the_current_folder_are_short(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert [item.name for item in open_inputs(["."])] == [
        *("a.jpg", "b.PNG", "deep/er/c.webp", "x[1].png")
    ]


def test_a_folder_that_changes_while_it_is_read(tree, monkeypatch):
    """What goes after it was listed fails by itself; what goes while it is listed is counted."""
    items = list(open_inputs([str(tree)]))
    (tree / "a.jpg").unlink()
    gone = next(iter(open_inputs([str(tree / "b.PNG")])))
    assert items[0].size == 0 and gone.content().exists()
    found = open_inputs([str(tree)])
    (tree / "b.PNG").unlink()
    first = next(iter(found))
    assert first.size is None and not first.content().exists()

    scan = os.scandir

    class Failing:
        """A disk that fails after the first name."""

        def __init__(self, path):
            self.entries = scan(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.entries.close()

        def __iter__(self):
            yield next(self.entries)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", Failing)
    (tree / "deep/only.png").write_text("")
    one = open_inputs([str(tree / "deep" / "er")])
    assert one.total == 1 and one.left_out == {"folder{s} that cannot be read": 1}


def test_a_name_of_four_thousand_characters_is_refused_in_a_line():
    with pytest.raises(UsageError, match="does not exist"):
        open_inputs(["n" * 4000 + ".png"])
