"""Folders in which some images are broken, each in another way; as many as are wanted.

    python -m tests.embedding.broken IMAGES FOLDER

writes IMAGES files, a hundredth of them broken, embeds them as a user would, and compares.
"""

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.bombs import bomb


def encoded(kind):
    file = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(file, kind)
    return file.getvalue()


PNG, JPEG, TIFF = map(encoded, ("PNG", "JPEG", "TIFF"))


def content(data):
    return lambda path: path.write_bytes(data)


# What is done to a file, and the reason that is given for it.
WAYS = {
    "empty.png": (content(b""), "the file is empty"),
    "text.png": (content(b"no image"), "not an image"),
    "page.jpg": (content(b"<html>not here</html>"), "not an image"),
    "cut.png": (content(PNG[: len(PNG) // 2]), "truncated"),
    "cut.jpg": (content(JPEG[: len(JPEG) * 2 // 3]), "truncated"),
    "bomb.png": (content(bomb()), "pixels"),
    "header.png": (content(PNG[:8] + b"\0" * 25 + PNG[33:]), "not an image"),
    "zeros.jpg": (content(b"\0" * 4096), "not an image"),
    "cut.tif": (content(TIFF[:100]), "not an image"),
    "turned.png": (content(PNG[:60] + PNG[60:][::-1]), "broken"),
}


def write(folder, count):
    """COUNT files, a hundredth broken in turn in each way: names and reasons of those."""
    reasons = {}
    ways = itertools.cycle(WAYS.items())
    for i in range(count):
        inside = folder / f"{i // 1000:03}"
        inside.mkdir(parents=True, exist_ok=True)
        if i % 100 == 50:
            name, (damage, reason) = next(ways)
            path = inside / f"{i:07}-{name}"
            damage(path)
            reasons[str(path)] = reason
        else:
            (inside / f"{i:07}.png").write_bytes(PNG)
    return reasons


def compare(said, reasons, count):
    """Whether a run's answer names each broken file with its reason, and has all others."""
    found = {bad["path"]: bad["reason"] for bad in said["unreadable"]}
    assert found.keys() == reasons.keys()
    for path, reason in reasons.items():
        assert reason in found[path].lower() and "\n" not in found[path], found[path]
    assert said["written"] == count - len(reasons)


def main(count, folder):
    reasons = write(Path(folder, "images"), count)
    command = [sys.executable, "-m", "cfamc_zoo", "embed", f"{folder}/images", "--json"]
    done = subprocess.run(
        [*command, "-o", f"{folder}/e.parquet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    compare(json.loads(done.stdout), reasons, count)
    sys.stdout.write(f"{count - len(reasons)} vectors, {len(reasons)} reasons\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
