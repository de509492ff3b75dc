import os

import pytest

from cfamc_zoo.embedding.inputs import find_images
from cfamc_zoo.errors import DataError, UsageError


@pytest.fixture
def tree(tmp_path):
    for name in ("b.PNG", "a.jpg", "deep/er/c.webp", "notes.txt", "x[1].png", "deep/.hidden.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def names(found, root):
    return [str(p.relative_to(root)) for p in found.paths]


def test_folders_are_searched_in_depth_for_any_case_of_the_suffixes(tree):
    found = names(find_images([str(tree)]), tree)
    assert found == ["a.jpg", "b.PNG", "deep/er/c.webp", "x[1].png"]


def test_files_are_taken_whatever_their_suffix_and_once(tree):
    one = str(tree / "notes.txt")
    assert names(find_images([one, str(tree / "a.jpg"), one]), tree) == ["notes.txt", "a.jpg"]


def test_patterns(tree):
    assert names(find_images([str(tree / "*.PNG")]), tree) == ["b.PNG"]
    assert names(find_images([str(tree / "**" / "*.webp")]), tree) == ["deep/er/c.webp"]
    assert names(find_images([str(tree / "dee?")]), tree) == ["deep/er/c.webp"]
    assert names(find_images([str(tree / "x[1].png")]), tree) == ["x[1].png"]


def test_a_hidden_file_that_is_named_is_taken(tree):
    one = str(tree / "deep" / ".hidden.gif")
    assert names(find_images([one]), tree) == ["deep/.hidden.gif"]
    assert names(find_images([str(tree / "deep" / ".*.gif")]), tree) == ["deep/.hidden.gif"]


def test_a_pattern_that_matches_folders_counts_what_they_leave_out_once(tree):
    (tree / "__MACOSX").mkdir()
    (tree / "__MACOSX" / "a.jpg").write_text("")
    (tree / "deep" / "er" / "c.txt").write_text("")
    found = find_images([str(tree / "**")])
    assert names(found, tree) == ["a.jpg", "b.PNG", "deep/er/c.webp", "x[1].png"]
    assert found.left_out == {".txt": 2}


def test_what_folders_leave_out_is_counted(tree):
    assert find_images([str(tree), str(tree / "notes.txt")]).left_out == {".txt": 1}


def test_a_name_that_no_output_can_hold_is_refused(tree):
    name = str(tree / os.fsdecode(b"\xff.png"))
    with pytest.raises(UsageError, match="rename it"):
        find_images([name])


def test_names_that_are_hard_to_print(tmp_path):
    for name in ("zwei\nZeilen.png", "žluťoučký.png", "空.png"):
        (tmp_path / name).write_text("")
    assert len(find_images([str(tmp_path)]).paths) == 3


def test_what_is_not_there(tree):
    with pytest.raises(UsageError, match="does not exist"):
        find_images([str(tree / "gone.png")])
    with pytest.raises(UsageError, match="matches nothing"):
        find_images([str(tree / "*.bmp")])
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        find_images([str(tree / "empty")])
