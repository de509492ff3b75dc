"""From a finished run to a release with every number measured: head, export, attacks, card.

    python tools/release.py runs/thin --name resnet18-thin-cifar10-free --data cifar10 --bundle

Runs the public commands and writes down what they answered. With --bundle the release becomes
part of the package and its registry entry is written; without, only docs/runs/NAME is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cfamc_zoo
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export.card import render, summarize
from cfamc_zoo.zoo.preprocess import to_input
from cfamc_zoo.zoo.weights import CARD, PROJECTOR, RESULTS, open_release, write_files

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden.npz"
PROTOCOL = "clean linear head; PGD, random start, every verdict in float32"


def zoo(*arguments: str) -> dict[str, Any]:
    print("cfamc-zoo", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "cfamc_zoo", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measure(folder: Path, name: str, data: str) -> list[dict[str, Any]]:
    """Rows of results.json on one data set."""
    command = ["attack", "--data", data, "--eps", "4/255,8/255", "--steps", "20"]
    answer = zoo(*command, "-m", str(folder))
    return [
        {
            "protocol": PROTOCOL,
            "metric": row["metric"],
            "attack": row["attack"],
            "norm": answer["norm"] if row["attack"] else "",
            "eps": row["eps"],
            "steps": answer["steps"] if row["attack"] else 0,
            "restarts": answer["restarts"] if row["attack"] else 0,
            "data": data,
            "n": row["n"],
            "value": round(row["value"], 4),
            "low": round(row["low"], 4),
            "high": round(row["high"], 4),
            "command": " ".join(["cfamc-zoo", *command, "-m", name]),
            "seed": answer["seed"],
            "versions": answer["versions"],
            "device": answer["device"],
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        }
        for row in answer["results"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--title", default="")
    parser.add_argument("--bundle", action="store_true")
    arguments = parser.parse_args()
    run, name, data = arguments.run, arguments.name, arguments.data

    probe = run / "probe.safetensors"
    head = zoo("probe", "-m", str(run / "release"), "--data", data, "-o", str(probe))
    folder = ROOT / "cfamc_zoo/zoo/bundled" / name if arguments.bundle else run / name
    shutil.rmtree(folder, ignore_errors=True)
    zoo("export", str(run), "-o", str(folder), "--name", name, "--probe", str(probe))
    release = open_release(folder)
    if arguments.bundle and release.has(PROJECTOR):
        # For continued training, on the Hub; a user of the package does not need it.
        files = {k: v for k, v in release.config.files.items() if k != PROJECTOR}
        (folder / PROJECTOR).unlink()
        release = write_files(folder, replace(release.config, files=files), {})
    rows = measure(folder, name, data) + measure(folder, name, f"{data}-sample")
    release = write_files(folder, release.config, {RESULTS: _json(rows).encode()})
    (folder / CARD).write_text(render(release.config, rows))

    log = ROOT / "docs/runs" / name
    log.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "metrics.jsonl", log / "metrics.jsonl")
    (log / "recipe.json").write_text(_json(release.config.recipe))
    (log / "probe.json").write_text(_json({**head, "output": probe.name}))
    (log / "results.json").write_text(_json(rows))
    if arguments.bundle:
        entry = {
            "name": name,
            "title": arguments.title,
            "architecture": asdict(release.config.architecture),
            "preprocess": asdict(release.config.preprocess),
            "recipe": release.config.recipe["name"],
            "licence": release.config.licence,
            "repo": f"cfamc-zoo/{name}",
            "revision": "main",
            "config_sha256": release.config_sha256,
            "bundled": True,
            "threat_model": release.config.threat_model,
            "results": summarize(rows),
        }
        (ROOT / "cfamc_zoo/zoo/models" / f"{name}.json").write_text(_json(entry))
        keep_golden(name)


def keep_golden(name: str) -> None:
    """The first images' embeddings, which a test compares with ever after."""
    images = load_dataset("cifar10-sample").images[:8]
    kept = dict(np.load(GOLDEN)) if GOLDEN.exists() else {}
    kept[name] = cfamc_zoo.load(name)(torch.from_numpy(to_input(images))).numpy()
    np.savez(GOLDEN, **kept)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


if __name__ == "__main__":
    main()
