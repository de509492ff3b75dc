"""Runs what the README and pages show of the command line, and puts what it printed there.

python docs/tour.py
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import fill

from PIL import Image

from cfamc_zoo.datasets import load_dataset

README = Path(__file__).parent.parent / "README.md"
TOUR = re.compile(r"(?<=<!-- tour -->\n).*?(?=<!-- /tour -->)", re.DOTALL)
COMMANDS = (
    "list",
    "embed images/ -m resnet18-cifar10-free -o vectors.parquet",
    "attack -m resnet18-cifar10-free --eps 8/255 --limit 100",
    "train cf-amc-ssl-thin --data cifar10-sample --set max_steps=2 -o run",
)
VERIFY = Path(__file__).parent / "site/how-to/verify.md"
PAGES = {README: COMMANDS, VERIFY: ("verify resnet18-thin-cifar10-free --limit 100",)}
WIDTH = 80
PROGRESS = re.compile(r": [\d,]+ of [\d,]+, .* left\b")  # a line of it, where a command takes long


def run(command: str, folder: str) -> str:
    """What a person sees at a terminal of WIDTH columns, without progress and colours."""
    terminal, its_end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cfamc_zoo", *command.split()],
        cwd=folder,
        env=os.environ | {"COLUMNS": str(WIDTH), "TERM": "dumb"},
        stdout=its_end,
        stderr=subprocess.PIPE,  # no terminal: no progress
    ) as process:
        os.close(its_end)
        assert process.stderr is not None
        printed = b""
        open_ends = {terminal, process.stderr.fileno()}
        while open_ends:
            for end in select.select(open_ends, [], [])[0]:
                try:
                    content = os.read(end, 65536)
                except OSError:  # what a terminal gives at its end
                    content = b""
                printed += content
                if not content:
                    open_ends.remove(end)
    os.close(terminal)
    if process.returncode:
        raise SystemExit(f"{command}: {printed.decode()}")
    said = [line for line in printed.decode().splitlines() if not PROGRESS.search(line)]
    lines = [folded(line) for line in said]
    return f"$ cfamc-zoo {command}\n" + "\n".join(lines).rstrip() + "\n"


def folded(line: str) -> str:
    """A line as wide as the terminal; a longer one goes on below, between words."""
    line = line.rstrip()
    return line if len(line) <= WIDTH else fill(line, WIDTH, break_on_hyphens=False)


def put(printed: str, page: Path) -> None:
    text = page.read_text("utf-8")
    page.write_text(TOUR.sub(lambda _: f"```\n{printed}```\n", text), "utf-8")


def main() -> None:
    sample = load_dataset("cifar10-sample")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        images.mkdir()
        for row, image in enumerate(sample.images):
            Image.fromarray(image).save(images / f"{row:04}.png")
        for page, commands in PAGES.items():
            put("\n".join(run(command, folder) for command in commands), page)


if __name__ == "__main__":
    main()
