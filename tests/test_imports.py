"""The rooms and what they may import; what stays light; what is never used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "cfamc_zoo"
FILES = sorted(ROOT.rglob("*.py"))
BASE = {"errors", "atomic"}
MAY_IMPORT = {
    "errors": set(),
    "atomic": {"errors"},
    "allocator": set(),
    "threads": set(),
    "progress": set(),
    "datasets": BASE,
    "doctor": BASE | {"zoo", "datasets", "embedding"},
    "zoo": BASE | {"zoo", "__init__"},
    **{room: BASE | {"zoo", "__init__", room} for room in ("embedding", "training", "export")},
    "evaluation": BASE | {"zoo", "__init__", "evaluation", "progress"},
    # The public API: load, embed, attack, save, push.
    "__init__": BASE | {"zoo", "embedding", "evaluation", "export", "datasets"},
    "__main__": {"cli"},
}
MAY_IMPORT["cli"] = {"datasets", "cli", *MAY_IMPORT} - {"__main__"}


def room(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path):
    """Every module of ours that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module] if node.module != "cfamc_zoo" else []
            if node.module == "cfamc_zoo":
                names = [f"cfamc_zoo.{alias.name}" for alias in node.names]
        else:
            continue
        yield from names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "cfamc_zoo" and rest:
            target = (
                rest[0]
                if (ROOT / rest[0]).is_dir() or (ROOT / f"{rest[0]}.py").exists()
                else "__init__"
            )
            assert target in MAY_IMPORT[room(path)], f"{room(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_and_one_place_prints(path):
    text = path.read_text()
    if path == ROOT / "export" / "legacy.py":
        assert text.count("torch.load(") == text.count("weights_only=True") == 1
    else:
        assert "torch.load(" not in text
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "click", "dill"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}: print"
    if room(path) != "cli" or path.name != "output.py":
        assert "sys.stdout.write" not in text
        assert "sys.stderr.write" not in text


HEAVY = (
    *("torch", "torchvision", "onnxruntime", "onnx", "pyarrow", "PIL", "huggingface_hub"),
    *("numpy", "pydantic", "rich.console"),
)


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["embed", "--help"], ["--version"]])
def test_the_light_commands_import_nothing_heavy(arguments):
    script = (
        "import sys, json\n"
        "from cfamc_zoo.cli.app import run\n"
        f"code = run({arguments!r})\n"
        f"print(json.dumps([code, sorted(set(sys.modules) & set({HEAVY!r}))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


@pytest.mark.parametrize("command", ["info", "pull"])
def test_info_and_pull_do_not_import_torch(tiny_release, command):
    script = (
        "import sys\n"
        "from cfamc_zoo.cli.app import run\n"
        "from cfamc_zoo.zoo.registry import list_models\n"
        f"code = run([{command!r}, list_models()[0].name])\n"
        "assert code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
