"""Plain data as dataclasses: what is taken, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.typed import LEAVES, Leaf, read, read_value


@dataclass(frozen=True)
class Round:
    kind: Literal["round"] = "round"
    radius: float = 1.0

    def __post_init__(self):
        if self.radius <= 0:
            raise UsageError(f"radius is {self.radius}; it must be over 0")


@dataclass(frozen=True)
class Square:
    kind: Literal["square"] = "square"
    side: int = 1


@dataclass(frozen=True)
class Drawing:
    name: str
    shape: Round | Square = Round()
    size: tuple[int, int] = (1, 1)
    tags: tuple[str, ...] = ()
    parts: dict[str, Round] = field(default_factory=dict)
    frame: Square | None = None
    colour: Literal["red", "blue"] = "red"
    scores: list[float] = field(default_factory=list)
    more: Mapping[str, Any] | None = None


def test_all_that_annotations_say_is_read():
    values = {
        "name": "some",
        "shape": {"kind": "square", "side": 3},
        "size": [2, 3],
        "tags": ["a", "b"],
        "parts": {"a.b": {"radius": 2}},
        "frame": {"side": 4},
        "colour": "blue",
        "scores": [1, 2.5],
        "more": {"any": [None, {}]},
    }
    assert read(Drawing, values, "drawing") == Drawing(
        *("some", Square(side=3), (2, 3), ("a", "b"), {"a.b": Round(radius=2.0)}, Square(side=4)),
        *("blue", [1.0, 2.5], {"any": [None, {}]}),
    )
    assert type(read(Round, {"radius": 2}, "round").radius) is float
    assert read(Drawing, {"name": "some", "frame": None, "more": None}, "x") == Drawing("some")
    built = Square(side=9)
    assert read(Drawing, {"name": "some", "shape": built}, "x").shape is built


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (3, "drawing is 3; it must be a table"),
        ({1: 2}, "it must be a table"),
        ({}, "drawing lacks name; it must have all of them"),
        ({"nmae": "x"}, "unknown drawing key 'nmae'; did you mean name"),
        ({"frame": {"sdie": 1}}, "unknown drawing key 'frame.sdie'; did you mean frame.side"),
        ({"name": True}, "drawing key name is True; it must be text"),
        ({"size": [1]}, "drawing key size is [1]; it must be a list of 2"),
        ({"size": [1, True]}, "drawing key size[1] is True; it must be a whole number"),
        ({"size": [1, 2.0]}, "drawing key size[1] is 2.0; it must be a whole number"),
        ({"tags": "ab"}, "drawing key tags is 'ab'; it must be a list"),
        ({"tags": ["a", 1]}, "drawing key tags[1] is 1; it must be text"),
        ({"scores": [float("nan")]}, "drawing key scores[0] is nan; it must be a number"),
        ({"scores": [10**400]}, "it must be a number"),
        (
            {"parts": {"a\nb": {"radius": -1}}},
            r"drawing key parts['a\nb']: radius is -1.0; it must",
        ),
        ({"parts": {"a": 1}}, "drawing key parts['a'] is 1; it must be a table"),
        ({"colour": "blu"}, "unknown colour 'blu'; did you mean blue?"),
        ({"colour": 3}, "unknown colour '3'; known: blue, red"),
        ({"shape": {}}, "drawing key shape is {}; it must be a table with a kind"),
        ({"shape": {"kind": "ruond"}}, "unknown shape.kind 'ruond'; did you mean round?"),
        ({"shape": {"kind": []}}, "unknown shape.kind '[]'"),
        ({"shape": {"kind": "round", "side": 1}}, "unknown drawing key 'shape.side'"),
        ({"frame": 1}, "drawing key frame is 1; it must be a table"),
        ({"more": 1}, "drawing key more is 1; it must be a table"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_the_rule(values, said):
    if isinstance(values, dict) and values and "nmae" not in values:
        values = {"name": "some"} | values
    with pytest.raises(UsageError, match=r"^[^\n]+$") as error:
        read(Drawing, values, "drawing")
    assert said in str(error.value)


@pytest.mark.parametrize("values", [{"name": ["x" * 10**6]}, {"x" * 10**6: 1, "name": "x"}])
def test_a_message_stays_short(values):
    with pytest.raises(UsageError) as error:
        read(Drawing, values, "drawing")
    assert len(str(error.value)) < 400


def test_an_unknown_key_is_told_apart_from_a_wrong_value():
    with pytest.raises(UnknownNameError):
        read(Square, {"x": 1}, "square")


def test_one_value_and_leaves_of_ones_own():
    assert read_value(dict, {"a": 1}, "some", "b") == {"a": 1}
    with pytest.raises(UsageError, match=r"some key b is \[\]; it must be a table"):
        read_value(dict, [], "some", "b")
    upper = {**LEAVES, str: Leaf("text", str.upper)}
    assert read(Drawing, {"name": "some"}, "x", leaves=upper).name == "SOME"
