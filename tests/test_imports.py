"""The rooms and what they may import; what stays light; what is never used."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "cfamc_zoo"
FILES = sorted(ROOT.rglob("*.py"))
GROUND = {
    *("errors", "typed", "toml_files", "atomic", "version"),
    *("names", "folders", "parquet", "datasets", "pages"),
}
MIDDLE = ("embedding", "evaluation", "training", "export")
MAY_IMPORT = {
    "errors": set(),
    "typed": {"errors"},
    "toml_files": {"errors"},
    "version": set(),
    "allocator": set(),
    "threads": set(),
    "pace": set(),
    "progress": {"pace"},
    "atomic": {"errors"},
    "names": set(),
    "pages": set(),
    "folders": {"errors", "names"},
    "parquet": {"errors", "folders"},
    "datasets": {"errors", "atomic", "folders", "parquet"},
    "doctor": GROUND | {"zoo", "embedding"},
    "zoo": GROUND | {"zoo"},
    **{room: GROUND | {"zoo", room} for room in MIDDLE},
    **{room: GROUND | {"zoo", room, "progress"} for room in ("evaluation", "training")},
    "verification": GROUND | {"zoo", "evaluation", "export", "progress", "verification"},
    # The face: load, embed, attack, save, push, and the class that `load` returns.
    "pretrained": GROUND | {"zoo", "export"},
    "__init__": GROUND | {"zoo", *MIDDLE, "pretrained", "progress"},
    "__main__": {"cli"},
}
MAY_IMPORT["cli"] = {"cli", *MAY_IMPORT} - {"__main__"}


def module(path, root=ROOT):
    """The name that a file is imported under."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name):
    """The folder of a module, or its file where it lies on the top level."""
    return [*name.split("."), "__init__"][1]


def imports(path, known=frozenset()):
    """Every module that a file imports, inside functions too.

    `from package import name` imports the module of that name where `known` has one.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def graph(root):
    """Every module of a package, and what it imports of the package."""
    files = {module(path, root): path for path in root.rglob("*.py")}
    return {
        name: {target for target in imports(path, files) if target in files} - {name}
        for name, path in files.items()
    }


def forbidden(modules):
    """Pairs of modules of which the first may not import the second."""
    return [
        (name, target)
        for name, targets in modules.items()
        for target in targets
        if room(target) not in MAY_IMPORT[room(name)]
    ]


# Of the rooms in zoo/, what each may import beside the files that lie there themselves.
IN_ZOO = {
    "network": set(),
    "images": {"network"},
    "release": {"network"},
    "onnx": {"network", "release"},
    "catalogue": {"release"},
}


def folded(modules, room):
    """What the folders and files that lie in a room import of one another."""
    own = {name: name.split(".")[2] for name in modules if name.startswith(f"cfamc_zoo.{room}.")}
    found = {part: set() for part in own.values()}
    for name, part in own.items():
        found[part] |= {own[target] for target in modules[name] if target in own} - {part}
    return found


def test_imports_run_one_way():
    assert forbidden(graph(ROOT)) == []


@pytest.mark.parametrize("room", ["zoo", *MIDDLE, "verification", "cli"])
def test_inside_a_room_they_run_one_way_too(room):
    graphlib.TopologicalSorter(folded(graph(ROOT), room)).prepare()  # says which


def test_the_rooms_of_the_zoo_stand_on_each_other():
    inside = folded(graph(ROOT), "zoo")
    for part, allowed in IN_ZOO.items():
        assert inside[part] & set(IN_ZOO) <= allowed, part


def test_no_two_files_import_each_other():
    graphlib.TopologicalSorter(graph(ROOT)).prepare()  # says which


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("zoo/a.py", "import cfamc_zoo"),
        ("zoo/a.py", "from cfamc_zoo import __version__"),
        ("zoo/a.py", "from cfamc_zoo import export"),
        ("zoo/a.py", "import cfamc_zoo.export.b as b"),
        ("training/c.py", "def f():\n    from cfamc_zoo.export.b import g"),
        ("training/c.py", "def f():\n    import cfamc_zoo"),
        ("export/b.py", "class C:\n    def f(self):\n        import cfamc_zoo.cli"),
    ],
)
def test_a_forbidden_import_is_seen_wherever_it_stands(tmp_path, file, line):
    root = tmp_path / "cfamc_zoo"
    for name in ("__init__", "zoo/__init__", "export/__init__", "export/b", "cli/__init__"):
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert forbidden(graph(root)) == []
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(line)
    assert [room(name) for name, _ in forbidden(graph(root))] == [file.split("/")[0]]


def test_a_circle_inside_a_room_is_seen(tmp_path):
    root = tmp_path / "cfamc_zoo"
    (root / "zoo").mkdir(parents=True)
    (root / "zoo/a.py").write_text("from cfamc_zoo.zoo import b")
    (root / "zoo/b.py").write_text("def f():\n    from cfamc_zoo.zoo.a import g")
    assert forbidden(graph(root)) == []
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph(root)).prepare()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_and_one_place_prints(path):
    text = path.read_text()
    if path == ROOT / "export" / "foreign.py":
        assert text.count("torch.load(") == text.count("weights_only=True") == 1
    else:
        assert "torch.load(" not in text
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "click", "dill"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}: print"
    if path != ROOT / "cli" / "output.py":
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
def test_info_and_pull_do_not_import_torch(command):
    script = (
        "import sys\n"
        "from cfamc_zoo.cli.app import run\n"
        "from cfamc_zoo.zoo.catalogue.registry import default_model\n"
        f"code = run([{command!r}, default_model()])\n"
        "assert code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
