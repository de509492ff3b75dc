"""What 10^8 and 10^10 images take on many machines, from figures that this script measures.

    python benchmarks/plan.py [--core-hour 0.04] [--thousand-requests 0.0004] [--write PAGE]
    python benchmarks/plan.py --measure     # again, into benchmarks/plan.json; some minutes

Rates are by the processor's time, which a machine that does other things changes little.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_name("plan.json")
BLOCK = re.compile(r"(?<=<!-- plan -->\n).*?(?=<!-- /plan -->)", re.DOTALL)
CORE_HOUR, REQUESTS = 0.04, 0.0004  # dollars: a core's hour, a thousand requests to a store
IMAGES = {10**8: "100 million", 10**10: "10 billion"}
HOUR = 3600  # seconds
NETWORK = 1.25e9  # bytes a second: 10 Gbit/s


def render(figures: dict[str, Any], core_hour: float, thousand_requests: float) -> str:
    """The page's tables, in Markdown."""
    driver = figures["driver"]
    writing = 1 / driver["cpu_seconds_per_row"]
    lines = [
        "| images | model | files | core hours | cores for a day | read | written | cost |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for n, images in IMAGES.items():
        for case in figures["cases"]:
            hours = n / case["images_per_core_second"] / HOUR
            cost = hours * core_hour + n / 1000 * thousand_requests
            lines.append(
                f"| {images} | {case['model']} | {case['files']} | {hours:,.0f} | "
                f"{hours / 24:,.0f} | {_bytes(n * case['bytes_per_image'])} | "
                f"{_bytes(n * case['bytes_per_row']['float32'])} | ${cost:,.0f} |"
            )
    lines += [
        "",
        "| model | files | images a second and core | bytes an image | bytes a row, float32 "
        "(float16) | cores that one driver keeps busy | cores that 10 Gbit/s feed |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for case in figures["cases"]:
        rate, row = case["images_per_core_second"], case["bytes_per_row"]
        lines.append(
            f"| {case['model']} | {case['files']} | {rate:,.0f} | {case['bytes_per_image']:,.0f} | "
            f"{row['float32']:,.0f} ({row['float16']:,.0f}) | {writing / rate:,.0f} | "
            f"{NETWORK / (rate * case['bytes_per_image']):,.0f} |"
        )
    ray = figures["ray"]
    lines += [
        "",
        f"Measured: the second table, by processor time on one core of a shared {figures['cores']}-"
        f"core machine ({figures['date']}); a driver that reads and writes {writing:,.0f} rows of "
        f"{driver['dimension']} values a second; {figures['requests_per_image']:.0f} request an "
        f"image behind `http://`, and {figures['requests_per_tar']:.0f} for a tar of "
        f"{figures['tar_megabytes']:.0f} MB. Ray with 2 workers took {ray['ratio_few']:.1f} "
        f"times as long as the plain command with 2 threads for {ray['few']} small images, "
        f"{ray['ratio_more']:.1f} times for {ray['many'] - ray['few']:,} more, and "
        f"{ray['start_seconds']:.0f} seconds before to start, on a machine that was busy.",
        "",
        f"Assumed: ${core_hour:g} a core and hour, ${thousand_requests:g} a thousand requests, one "
        "request an image; that machines do not wait for their disks, and that twice the cores do "
        "twice the work.",
        "",
    ]
    return "\n".join(lines)


def _bytes(n: float) -> str:
    return f"{n / 1e12:,.1f} TB" if n >= 1e12 else f"{n / 1e9:,.0f} GB"


def measure() -> dict[str, Any]:
    """All figures, anew."""
    import plan_figures  # imports torch

    with tempfile.TemporaryDirectory() as scratch:
        return plan_figures.measure(Path(scratch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="into benchmarks/plan.json")
    parser.add_argument("--core-hour", type=float, default=CORE_HOUR, help="dollars")
    parser.add_argument("--thousand-requests", type=float, default=REQUESTS, help="dollars")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="into a page of the site")
    arguments = parser.parse_args()
    if arguments.measure:
        FIGURES.write_text(json.dumps(measure(), indent=2) + "\n", "utf-8")
    text = render(
        json.loads(FIGURES.read_text("utf-8")), arguments.core_hour, arguments.thousand_requests
    )
    if arguments.write:
        page = arguments.write.read_text("utf-8")
        arguments.write.write_text(BLOCK.sub(lambda _: text, page), "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
