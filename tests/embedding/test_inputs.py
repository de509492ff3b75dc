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
