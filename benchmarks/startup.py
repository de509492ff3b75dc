"""Start-up of the light commands against the least that any such tool imports.

python benchmarks/startup.py [--runs 15] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c 'import typer, rich'": [sys.executable, "-c", "import typer, rich"],
    "cfamc-zoo --help": [str(BIN / "cfamc-zoo"), "--help"],
    "cfamc-zoo list": [str(BIN / "cfamc-zoo"), "list"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(arguments.runs + 1):  # in turns, so that a slow moment hits all
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if run:  # the first fills the caches
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:32} {median:7.3f} s {median / base:6.2f}x")
    if arguments.output:
        ratios = {name: median / base for name, median in medians.items()}
        result = {"median_seconds": medians, "ratio": ratios, "runs": arguments.runs}
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
