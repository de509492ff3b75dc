"""Measures a finished run under every protocol and writes it down beside the run.

    python tools/measure.py runs/free --name resnet18-cifar10-free [--published] [--crops 1,16,64]

For each protocol: RUN/PROTOCOL.safetensors, its head, and RUN/PROTOCOL.json, what the commands
answered. A protocol that is there already is left as it is, so this can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cfamc_zoo.evaluation.protocols import Protocol, protocols


def zoo(*arguments: str) -> dict[str, Any]:
    print("cfamc-zoo", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "cfamc_zoo", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure(run: Path, name: str, protocol: Protocol) -> None:
    """One protocol: its head on the first data set, then each attack on every set."""
    file = run / f"{protocol.key}.json"
    if file.exists():
        return
    model, probe = str(run / "release"), run / f"{protocol.key}.safetensors"
    head = ("--data", protocol.sets[0], *protocol.head)
    fitted = zoo("probe", "-m", model, *head, "-o", str(probe))
    rows: list[dict[str, Any]] = []
    for data in protocol.sets:
        for attack in protocol.attacks:
            answer = zoo("attack", "--data", data, *attack, "-m", model, "--probe", str(probe))
            rows += protocol.rows(answer, name)
    result = {"sha256": fitted["sha256"], "head": fitted | {"output": probe.name}, "rows": rows}
    file.write_text(json.dumps(result, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--crops", default="", help="numbers of crops, with commas")
    parser.add_argument("--limit", type=int, help="use the first N images only")
    arguments = parser.parse_args()
    for protocol in protocols(
        arguments.data,
        published=arguments.published,
        crops=tuple(int(n) for n in filter(None, arguments.crops.split(","))),
        limit=arguments.limit,
    ):
        measure(arguments.run, arguments.name, protocol)


if __name__ == "__main__":
    main()
