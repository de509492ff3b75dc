"""Measures a finished run under every protocol and writes it down beside the run.

    python tools/measure.py runs/free --name resnet18-cifar10-free [--published] [--crops 1,16,64]

For each protocol: RUN/PROTOCOL.safetensors, its head, and RUN/PROTOCOL.json, what the commands
answered. A protocol that is there already is left as it is, so this can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cfamc_zoo.zoo.results import OWN_PROTOCOL

CLEAN_HEAD = "linear head chosen for clean accuracy; PGD, random start"
PUBLISHED = "the paper's public script: its head, zero start, step 0.01"
OWN_ATTACK = ("--eps", "4/255,8/255", "--steps", "20")
PUBLISHED_ATTACK = ("--eps", "4/255,8/255", "--start", "zero", "--step-size", "0.01")


def zoo(*arguments: str) -> dict[str, Any]:
    print("cfamc-zoo", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "cfamc_zoo", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measure(
    run: Path,
    name: str,
    key: str,
    protocol: str,
    head: list[str],
    attacks: list[tuple[str, ...]],
    sets: list[str],
) -> None:
    """One protocol: its head on the first data set, then each attack on every set."""
    if (run / f"{key}.json").exists():
        return
    model, probe = str(run / "release"), run / f"{key}.safetensors"
    fitted = zoo("probe", "-m", model, "--data", sets[0], *head, "-o", str(probe))
    rows: list[dict[str, Any]] = []
    for data in sets:
        for attack in attacks:
            answer = zoo("attack", "--data", data, *attack, "-m", model, "--probe", str(probe))
            rows += [_row(answer, r, protocol, name, key, head) for r in answer["results"]]
    result = {"sha256": fitted["sha256"], "head": fitted | {"output": probe.name}, "rows": rows}
    (run / f"{key}.json").write_text(json.dumps(result, indent=2) + "\n")


def _row(
    answer: dict[str, Any],
    row: dict[str, Any],
    protocol: str,
    name: str,
    key: str,
    head: list[str],
) -> dict[str, Any]:
    """A row of results.json. Its command names the release where the answer's has the run."""
    command = shlex.split(answer["command"])
    command[command.index("-m") + 1] = name
    at = command.index("--probe")
    if key == "own":  # the release's own head
        del command[at : at + 2]
    else:  # the release has no such head: say how it is made
        command[at + 1] = f"{key}.safetensors"
        data = answer["data"].removesuffix("-sample")
        made = ["cfamc-zoo", "probe", "-m", name, "--data", data, *head, "-o", command[at + 1]]
        command = [*made, "&&", *command]
    attacked = bool(row["attack"])
    return {
        "protocol": protocol,
        "metric": row["metric"],
        "attack": row["attack"],
        "norm": answer["norm"] if attacked else "",
        "eps": row["eps"],
        "steps": answer.get("steps", 0) if attacked else 0,
        "restarts": answer.get("restarts", 0) if attacked else 0,
        "data": answer["data"],
        "n": row["n"],
        "value": round(row["value"], 4),
        "low": round(row["low"], 4),
        "high": round(row["high"], 4),
        "command": " ".join(w if w == "&&" else shlex.quote(w) for w in command),
        "seed": answer["seed"],
        "versions": answer["versions"],
        "device": answer["device"],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--crops", default="", help="numbers of crops, with commas")
    parser.add_argument("--limit", default="", help="use the first N images only")
    arguments = parser.parse_args()
    run, name, data = arguments.run, arguments.name, arguments.data
    few = ("--limit", arguments.limit) if arguments.limit else ()

    own = (*OWN_ATTACK, *few)
    sets = [data, "cifar10-sample"] if data == "cifar10" else [data]
    measure(run, name, "own", OWN_PROTOCOL, ["--select", "robust", *few], [own], sets)
    measure(run, name, "clean-head", CLEAN_HEAD, [*few], [own], [data])
    if arguments.published:
        attacks = [(*PUBLISHED_ATTACK, "--steps", steps, *few) for steps in ("2", "20")]
        head = ["--head", "published", *few]
        measure(run, name, "published", PUBLISHED, head, attacks, [data])
    for n in filter(None, arguments.crops.split(",")):
        protocol = f"{OWN_PROTOCOL}; mean of {n} crops"
        head = ["--select", "robust", "--crops", n, *few]
        measure(run, name, f"crops-{n}", protocol, head, [own], [data])


if __name__ == "__main__":
    main()
