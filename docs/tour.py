"""Runs the README's tour on the bundled sample and puts what it printed there.

python docs/tour.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from cfamc_zoo.datasets import load_dataset

README = Path(__file__).parent.parent / "README.md"
TOUR = re.compile(r"(?<=<!-- tour -->\n).*?(?=<!-- /tour -->)", re.DOTALL)
COMMANDS = (
    "list",
    "embed images/ -o vectors.parquet",
    "attack --eps 8/255",
    "train cf-amc-ssl-thin --data cifar10-sample --set max_steps=2 -o run",
)


def run(command: str, folder: str) -> str:
    """What a person sees of it, without the progress that a terminal shows."""
    done = subprocess.run(
        [sys.executable, "-m", "cfamc_zoo", *command.split()],
        cwd=folder,
        env=os.environ | {"COLUMNS": "96"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return f"$ cfamc-zoo {command}\n{done.stdout.rstrip()}\n"


def main() -> None:
    sample = load_dataset("cifar10-sample")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        images.mkdir()
        for row, image in enumerate(sample.images):
            Image.fromarray(image).save(images / f"{row:04}.png")
        printed = "\n".join(run(command, folder) for command in COMMANDS)
    README.write_text(TOUR.sub(lambda _: f"```\n{printed}```\n", README.read_text()))


if __name__ == "__main__":
    main()
