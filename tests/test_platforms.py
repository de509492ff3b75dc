"""What other systems lack, or do otherwise: calls, encodings, folders, a GPU's libraries."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfamc_zoo import doctor
from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.cores import usable_cores
from cfamc_zoo.zoo.onnx import cache as onnx_cache
from cfamc_zoo.zoo.onnx import nvidia
from cfamc_zoo.zoo.onnx import runtime as onnx_runtime
from cfamc_zoo.zoo.onnx.cache import cache_folder
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import open_release

ROOT = Path(__file__).parent.parent / "cfamc_zoo"

# Libraries, which know other systems by name, are imported first. /proc is taken away too.
LIGHT = "numpy onnx onnxruntime PIL.Image pyarrow.parquet rich.console shutil tempfile typer"
HEAVY = f"{LIGHT} torch torchvision onnxscript huggingface_hub jinja2"
ELSEWHERE = """
import builtins, importlib, io, os, pathlib, signal, sys
for name in os.environ["FIRST"].split():
    importlib.import_module(name)
for name in ("sched_getaffinity", "uname", "getuid", "geteuid", "fork", "killpg", "getpgid",
             "symlink", "O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "fchmod", "chown", "mkfifo"):
    delattr(os, name)
for name in ("SIGKILL", "SIGALRM", "SIGSTOP", "SIGHUP", "SIGUSR1", "alarm", "setitimer"):
    delattr(signal, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
real = io.open
def without_proc(file, *arguments, **named):
    if str(file).startswith(("/proc", "/dev/", "/sys")) and str(file) != os.devnull:
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return real(file, *arguments, **named)
io.open = builtins.open = without_proc
from cfamc_zoo.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def elsewhere(*arguments, first=LIGHT, **more):
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "FIRST": first}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | paths | more,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_embedding_needs_nothing_that_only_linux_has(tiny_release, tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    options = ["-m", tiny_release, "-o", tmp_path / "e.npy", "--overwrite"]
    for _ in range(2):  # the second time from what the first kept, if it kept any
        elsewhere("embed", tmp_path / "a.png", *options, CFAMC_ZOO_CACHE=str(tmp_path / "cache"))
    expected = open_session(open_release(tiny_release), "backbone")
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    pixels[:, 0] = 1
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), expected(pixels), rtol=1e-4)


def test_doctor_needs_it_neither():
    found = json.loads(elsewhere("doctor", "--json", first=HEAVY))["findings"]
    assert [f for f in found if f["state"] == "broken"] == []


def test_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


@pytest.mark.parametrize(
    ("system", "folder"),
    [
        ("linux", ".cache/cfamc-zoo"),
        ("darwin", "Library/Caches/cfamc-zoo"),
        ("win32", "AppData/Local/cfamc-zoo"),
    ],
)
def test_the_cache_lies_where_the_system_has_caches(monkeypatch, tmp_path, system, folder):
    for name in ("CFAMC_ZOO_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(onnx_cache.sys, "platform", system)
    monkeypatch.setattr(onnx_cache.Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / folder
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "moved"))
    moved = tmp_path / "moved" / "cfamc-zoo"
    assert cache_folder() == (moved if system == "win32" else tmp_path / folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "cfamc-zoo"


def texts(path):
    """Calls that open a file as text, as the source has them, and whether they say how."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        words = [n.value for n in node.args if isinstance(n, ast.Constant)]
        said = "utf-8" in words or "utf-8-sig" in words
        said |= any(k.arg == "encoding" for k in node.keywords)
        modes = [w for w in words if isinstance(w, str) and set(w) <= set("rwaxbt+")]
        # Image.open, pa.ipc.open_file, os.open and archives read bytes.
        whose = getattr(getattr(node.func, "value", None), "id", "")
        in_bytes = whose in ("Image", "os", "tarfile", "archive") or any("b" in m for m in modes)
        if name in ("read_text", "write_text") or (name == "open" and not in_bytes):
            yield ast.unparse(node), said


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.name)
def test_text_has_an_encoding_of_ours_not_the_systems(path):
    assert [call for call, said in texts(path) if not said] == []


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_name_can_be_printed(tiny_release, tmp_path, encoding):
    name = "é猫.png"
    Image.new("RGB", (40, 40)).save(tmp_path / name)
    out = tmp_path / "猫.npy"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONIOENCODING": encoding,
    }
    command = [sys.executable, "-m", "cfamc_zoo", "embed", str(tmp_path / name)]
    command += ["-m", str(tiny_release), "-o", str(out), "--overwrite"]
    plain = subprocess.run(command, capture_output=True, check=True, env=environment)
    printed = plain.stdout.decode(encoding).strip()
    assert printed == str(out) if encoding == "utf-8" else printed.endswith("\\u732b.npy")
    done = subprocess.run([*command, "--json"], capture_output=True, check=True, env=environment)
    assert json.loads(done.stdout.decode(encoding))["output"] == str(out)


def test_names_that_are_no_text(tiny_release, tmp_path):
    image, out = tmp_path / "a.png", os.fsencode(tmp_path) + b"/b\xff.npy"
    Image.new("RGB", (40, 40)).save(image)
    try:
        os.close(os.open(out + b".tried", os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "cfamc_zoo", "embed", image, "-m", str(tiny_release)]
    done = subprocess.run([*command, "-o", out], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out + b"\n", "as it is, so that a shell finds it"


def findings(what):
    return [f for f in doctor.examine() if f.what == what]


def test_doctor_tries_what_embed_does(monkeypatch):
    (well,) = findings("embedding")
    assert well.state == "ok"
    monkeypatch.setattr(
        "cfamc_zoo.zoo.onnx.session.session_options", lambda threads: os.of_another_system
    )
    monkeypatch.setattr("cfamc_zoo.zoo.onnx.cache.session_options", lambda t: os.of_another_system)
    (ill,) = findings("embedding")
    assert ill.state == "broken"
    assert "of_another_system" in ill.found


def test_doctor_imports_what_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (finding,) = findings("pyarrow")
    assert finding.state == "broken"
    assert finding.remedy == "pip install --force-reinstall pyarrow"


def test_doctor_names_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CFAMC_ZOO_CACHE", str(tmp_path / "file"))
    (finding,) = findings("graph cache")
    assert finding.state == "note"
    assert "set CFAMC_ZOO_CACHE" in finding.remedy


MACHINES = {  # system, GPUs that the driver sees, providers: what ONNX Runtime's line says
    "a Mac": ("darwin", None, (), "macOS has no CUDA"),
    "no driver": ("linux", None, (nvidia.PROVIDER,), "no NVIDIA driver here"),
    "hidden": ("linux", 0, (nvidia.PROVIDER,), "CUDA_VISIBLE_DEVICES"),
    "for the CPU": ("win32", 1, (), "then pip install onnxruntime-gpu"),
    "no libraries": ("linux", 1, (nvidia.PROVIDER,), "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_without_cuda_the_line_says_what_to_do(monkeypatch, tiny_release, machine):
    import onnxruntime as ort

    system, gpus, providers, said = MACHINES[machine]
    monkeypatch.setattr(nvidia, "gpu_count", lambda: gpus)
    monkeypatch.setattr(nvidia.sys, "platform", system)
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CPUExecutionProvider", *providers]
    )
    assert said in nvidia.onnx_remedy()
    with pytest.raises(UsageError) as error:
        open_session(open_release(tiny_release), "backbone", device="cuda")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    (finding,) = (f for f in doctor._providers() if f.what == "ONNX Runtime on CUDA")
    assert (finding.state, said in finding.remedy) == ("note", True)


def test_for_a_gpu_the_libraries_that_pip_installed_are_loaded_in_silence(monkeypatch, capsys):
    import onnxruntime as ort

    loaded = []
    monkeypatch.setattr(ort, "preload_dlls", lambda: loaded.append(sys.stdout.write("x")))
    with pytest.raises(Exception, match="model"):
        onnx_runtime.make_session(b"no model", provider="CPUExecutionProvider")
    assert not loaded
    with pytest.raises(Exception, match="model"):
        onnx_runtime.make_session(b"no model", provider=nvidia.PROVIDER)
    assert loaded
    assert capsys.readouterr().out == ""
