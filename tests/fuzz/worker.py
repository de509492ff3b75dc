"""Reads one mutant after the other; a process of its own, since a reader may take it down.

    python -m tests.fuzz.worker RELEASE SCRATCH SEED FIRST COUNT

Prints a line of JSON for each case. A case that hangs or toils ends the process, from
outside the interpreter.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.mutations import CONFIG, Mutant, make_mutant
from tests.fuzz.readers import READERS, concerned, read

TOO_LONG = 300  # seconds, of waiting
TOO_MUCH = 20  # seconds of a processor
TOO_LARGE = 512 << 20  # bytes that one case may take
ROOT = Path(__file__).parents[2]
READABLE = (str(ROOT), sys.prefix, sys.base_prefix, "/proc/", "/sys/", "/usr/", "/dev/null")

opened: list[str] = []


def note_opened(event: str, arguments: Any) -> None:
    if event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])


def main() -> None:
    release, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    seed, first, count = (int(a) for a in sys.argv[3:])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    files = {path.name: path.read_bytes() for path in release.iterdir()}
    outside, folder = scratch / "outside", scratch / "release"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(release, outside)
    for name in READERS:  # imports everything; and all is well with what is not damaged
        assert read(name, release) == "ok"
    limit = _memory("VmSize") + (3 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.addaudithook(note_opened)
    faulthandler.register(signal.SIGXCPU, chain=True)  # says where, then ends as usual
    os.chdir(outside)
    for number in range(first, first + count):
        mutant = make_mutant(files, seed, number)
        folder.mkdir()
        mutant.write(folder, outside)
        faulthandler.dump_traceback_later(TOO_LONG, exit=True)
        used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
        resource.setrlimit(resource.RLIMIT_CPU, (used + TOO_MUCH, resource.RLIM_INFINITY))
        outcome = run(mutant, folder, outside)
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(folder)
        sys.stdout.write(json.dumps({"number": number, **outcome}) + "\n")
        sys.stdout.flush()
    shutil.rmtree(scratch)


def run(mutant: Mutant, folder: Path, outside: Path) -> dict[str, Any]:
    """What every reader that is concerned says, and what it should not have done."""
    said, wrong = {}, []
    for path in outside.iterdir():
        os.utime(path, (0, path.stat().st_mtime))  # a later read shows
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for name in concerned(mutant.changed):
        opened.clear()
        with redirect_stdout(io.StringIO()) as printed:
            try:
                said[name] = read(name, folder)
            except BaseException:
                said[name] = "leak"
                wrong.append(f"{name}: {traceback.format_exc()}")
        if printed.getvalue():
            wrong.append(f"{name} printed {printed.getvalue()!r}")
        allowed = (f"{folder}/", *READABLE)
        wrong += [f"{name} opened {path}" for path in opened if not path.startswith(allowed)]
    if [path.name for path in outside.iterdir() if path.stat().st_atime]:
        wrong.append("a file outside was read")
    if (outside / "exploited").exists():
        wrong.append("something was unpickled")
    grown = _memory("VmHWM") - before
    if grown > TOO_LARGE:
        wrong.append(f"took {grown >> 20} MiB")
    if said["verify"] == "ok" and not mutant.pinned and mutant.changed - {"README.md", CONFIG}:
        wrong.append("verify let a changed file pass")
    return {"family": mutant.family, "pinned": mutant.pinned, "said": said, "wrong": wrong}


def _memory(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    raise KeyError(key)


if __name__ == "__main__":
    main()
