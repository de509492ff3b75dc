"""The plan for many machines on its page is the one that its figures give."""

import json
from pathlib import Path

from tests.scripts import script

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/site/how-to/cluster.md"


def plan():
    return script(ROOT / "benchmarks/plan.py")


def test_the_page_shows_what_the_figures_give():
    script = plan()
    figures = json.loads(script.FIGURES.read_text("utf-8"))
    (shown,) = script.BLOCK.findall(PAGE.read_text("utf-8"))
    assert shown == script.render(figures, script.CORE_HOUR, script.REQUESTS)


def test_hours_and_costs_are_sums_that_a_person_can_check():
    figures = json.loads(plan().FIGURES.read_text("utf-8"))
    figures["cases"] = [
        {
            **figures["cases"][0],
            "images_per_core_second": 100,
            "bytes_per_image": 50_000,
            "bytes_per_row": {"float32": 2000, "float16": 1000},
        }
    ]
    figures["driver"]["cpu_seconds_per_row"] = 1e-5
    text = plan().render(figures, core_hour=0.1, thousand_requests=0.001)
    # 10^8 / 100 / 3600 hours at $0.1 and 10^5 thousand requests at $0.001
    assert "| 278 | 12 | 5.0 TB | 200 GB | $128 |" in text
    assert "| 27,778 | 1,157 | 500.0 TB | 20.0 TB | $12,778 |" in text
    assert "| 100 | 50,000 | 2,000 (1,000) | 1,000 | 250 |" in text
