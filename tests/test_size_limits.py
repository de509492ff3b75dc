"""No file is longer than a person reads at once, no function than a screen, nor takes a crowd."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for folder in ("cfamc_zoo", "tools", "docs", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, PARAMETERS = 400, 60, 8
COMMANDS = ROOT / "cfamc_zoo" / "cli" / "commands"


def too_large(text, *, command=""):
    """What is over the limits, by name; the function called `command` has a command's options."""
    found = ["the file"] if len(text.splitlines()) > LINES_OF_A_FILE else []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name == command:
            continue
        given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        parameters = [one for one in given if one.arg not in ("self", "cls")]
        long = node.end_lineno - node.lineno + 1 > LINES_OF_A_FUNCTION
        if long or len(parameters) > PARAMETERS:
            found.append(node.name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_too_large(path):
    command = path.stem if path.parent == COMMANDS else ""
    assert too_large(path.read_text("utf-8"), command=command) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n" * 400, []),
        ("x = 1\n" * 401, ["the file"]),
        ("def f():\n" + "    x = 1\n" * 59, []),
        ("def f():\n" + "    x = 1\n" * 60, ["f"]),
        ("def f(a, b, c, d, e, g, h, i): ...", []),
        ("async def f(a, /, b, c, d, *, e, g, h, i, j): ...", ["f"]),
        ("class C:\n    def f(self, a, b, c, d, e, g, h, i): ...", []),
        ("class C:\n    def f(self, a, b, c, d, e, g, h, i, j): ...", ["f"]),
        ("def command(a, b, c, d, e, g, h, i, j):\n    def f():" + "\n        x" * 60, ["f"]),
    ],
)
def test_what_is_too_large_is_seen(text, said):
    assert too_large(text, command="command") == said
