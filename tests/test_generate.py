"""The tables of the generated pages, from runs whose numbers are known."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cfamc_zoo.training.recipe import load_recipe
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, row_of, rows_text
from tests.test_measure import script

ROOT = Path(__file__).parent.parent
HERE = {"versions": {}, "device": "cpu"}


def row(
    value,
    eps="",
    n=10_000,
    data="cifar10",
    protocol=OWN_PROTOCOL,
    norm="linf",
    attack="PGD-20",
):
    attack = {"attack": attack, "norm": norm, "eps": eps, "steps": 20, "restarts": 1}
    measured = {"metric": "accuracy", "data": data, "n": n, "value": value, "low": 0.0}
    measured |= {"high": 100.0, **(attack if eps else {})}
    return row_of(measured, protocol=protocol, command="again", here=HERE)


@pytest.fixture
def generate(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/paper.json").write_text('{"source": "somewhere", "rows": []}')
    (tmp_path / "docs/published.json").write_text("[]")
    return script(ROOT / "docs/generate.py", monkeypatch, tmp_path)


@pytest.fixture
def add(tmp_path):
    def add(name, *rows, width=64, most=0, steps=500):
        folder = tmp_path / "docs/runs" / name
        folder.mkdir(parents=True)
        lines = [{"seconds": 60.0}, {"seconds": 5430.0}]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        settings = [f"max_steps={most}", "seed=3", f"encoder.width={width}"]
        recipe = load_recipe("cf-amc-ssl", settings).to_json()
        made = {"device": "cuda", "torch": "2.9", "steps": steps}
        (folder / "run.json").write_text(json.dumps({"recipe": recipe, "provenance": made}))
        (folder / "results.json").write_bytes(rows_text(rows))

    return add


def table(text):
    return [line for line in text.splitlines() if line.startswith("| `")]


WHOLE = (row(75.5), row(50.25, "4/255"), row(30.125, "8/255"))
SAMPLE = tuple(replace(r, data="cifar10-sample", n=1000, value=99.0) for r in WHOLE)


def test_the_readmes_table_is_the_headline(generate, add):
    add("a", *SAMPLE, *WHOLE, row(1.0, "8/255", protocol="another"))
    add("b", *SAMPLE, most=14, steps=14)
    add("c", row(60.0), row(20.0, "8/255"))
    few, gpu = " (1,000 images of cifar10-sample)", "90 on a GPU"
    assert table(generate.readme_table()) == [
        f"| `a` | cifar10 | cf-amc-ssl, 10 epochs | {gpu} | 75.50 | 50.25 | 30.12 |",
        f"| `b` | cifar10 | cf-amc-ssl, 14 batches of 100 images | {gpu} | 99.00 | 99.00 | "
        f"99.00{few} |",
        f"| `c` | cifar10 | cf-amc-ssl, 10 epochs | {gpu} | 60.00 | - | 20.00 |",
    ]


@pytest.mark.parametrize(
    ("width", "most", "ours"), [(64, 0, True), (64, 14, False), (16, 0, False)]
)
def test_beside_the_paper_stands_only_the_same_recipe(generate, add, tmp_path, width, most, ours):
    paper = {
        "source": "somewhere",
        "rows": [
            {"encoder": "E", "recipe": "cf-amc-ssl", "minutes": 97}
            | {"cifar10": [75.88, 55.97, 33.34], "cifar100": [50, 31.73, 17]}
        ],
    }
    add("a", *WHOLE, width=width, most=most, steps=most or 500)
    (tmp_path / "docs/paper.json").write_text(json.dumps(paper))
    text = generate.results()
    told = "75.50 / 50.25 / 30.12 | 90.5 | cuda" if ours else "not trained | - | -"
    assert f"| E | `cf-amc-ssl` | 75.88 / 55.97 / 33.34 | 97 | {told} |" in text
    assert "| E | `cf-amc-ssl` | 50 / 31.73 / 17 | 97 | not trained | - | - |" in text
    assert f"| {OWN_PROTOCOL} | cifar10 | 10000 | PGD-20 | 75.50 | 50.25 | 30.12 |" in text


def test_every_protocol_has_its_own_line_with_its_own_clean_accuracy(generate):
    other = [row(61.0, protocol="another"), row(11.0, "8/255", protocol="another")]
    found = generate.grouped([*WHOLE, *SAMPLE, *other])
    assert {key: [r.value for r in rows] for key, rows in found.items()} == {
        (OWN_PROTOCOL, "cifar10", "PGD-20"): [75.5, 50.25, 30.125],
        (OWN_PROTOCOL, "cifar10-sample", "PGD-20"): [99.0, 99.0, 99.0],
        ("another", "cifar10", "PGD-20"): [61.0, 11.0],
    }


def test_no_radius_is_left_out_and_none_is_needed(generate, add):
    add("a", row(75.5), row(33.0, "16/255"), row(60.0, "2/255"), row(44.0, "0.5", norm="l2"))
    add("b", row(50.0, "8/255"))
    add("c", row(75.5))
    text = generate.results()
    assert "| attack | clean | 2/255 | 4/255 | 8/255 | 16/255 | 0.5 |" in text
    own = f"| {OWN_PROTOCOL} | cifar10 | 10000"
    assert f"{own} | PGD-20 | 75.50 | 60.00 | - | - | 33.00 | - |" in text
    assert "| 10000 | PGD-20, l2 | 75.50 | - | - | - | - | 44.00 |" in text
    assert "| 10000 | PGD-20 | - | - | 50.00 |" in text
    assert "| 10000 | - | 75.50 | - | - |" in text


def test_a_run_that_goes_on_is_in_no_table(generate, add, tmp_path):
    add("a", *WHOLE)
    before = generate.readme_table()
    going = tmp_path / "docs/runs/b"
    going.mkdir()
    (going / "metrics.jsonl").write_text('{"seconds": 60.0}\n')
    assert generate.readme_table() == before


BOARD = {
    "source": "a leaderboard",
    "protocol": "its own protocol",
    "views": 2,
    "rows": [
        {"encoder": "Theirs", "pretraining": "900 epochs", "epochs": 900}
        | {"cifar10": {"clean": 81.5, "autoattack": 46.25}},
        {"encoder": "Others", "pretraining": "90 epochs", "epochs": 90}
        | {"cifar10": {"clean": 71.5, "autoattack": 36.25}},
    ],
}


@pytest.fixture
def board(generate, add, tmp_path):
    """Two encoders of ours, of which one met AutoAttack on few images; and two published ones."""
    ensemble = row(22.5, "8/255", n=1000, data="cifar10-sample", attack="AutoAttack")
    add("resnet18-cifar10-a", *WHOLE, ensemble)
    add("resnet18-thin-cifar10-b", row(60.0), row(20.0, "8/255"), width=16)
    (tmp_path / "docs/published.json").write_text(json.dumps([BOARD]))
    return generate


def rows_of(page):
    """The table rows of a page: each the texts of its cells."""
    found = re.findall(r"<tr><td.*?</tr>", page, re.DOTALL)
    return [
        [" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in re.findall(r"<td.*?</td>", r)]
        for r in (line.replace("\n", " ") for line in found)
    ]


def test_the_leaderboard_puts_ours_beside_what_was_published(board):
    text, page = board.results(), board.leaderboard()
    interval = "(0.00–100.00)"
    few = f"22.50 {interval} on 1,000 images of cifar10-sample"
    ours = [f"75.50 {interval}", f"50.25 {interval}", f"30.12 {interval}", few]
    assert rows_of(page)[0][:5] == ["resnet18-cifar10-a", *ours]
    assert f"| `resnet18-cifar10-a` | {' | '.join(ours)} | 90.5 minutes on cuda |" in text
    theirs = ["Theirs", "81.50", "–", "–", "46.25", "900 epochs"]
    assert [cells[:6] for cells in rows_of(page) if cells[0] == "Theirs"] == [theirs]
    assert "| Theirs | 81.50 | - | - | 46.25 | 900 epochs | over " in text
    assert page.index("Measured here") < page.index("<b>Published</b>: a leaderboard; its own")
    assert "| **Published: a leaderboard; its own protocol** |" in text


def test_what_is_beside_the_accuracies_comes_from_the_files_of_a_run(board, tmp_path):
    run = tmp_path / "docs/runs/resnet18-cifar10-a"
    here = {"versions": {"onnxruntime": "1.2"}, "device": "cpu: some processor"}
    head = {"knn_accuracy": 80.0, "knn_k": 20, "n": 10_000, "feature": "representation"}
    moved = {"data": "cifar100", "feature": "backbone", "train_images": 50_000, "n": 10_000}
    for part, found in {
        "heads": [{}, head],
        "transfer": moved | {"test_accuracy": 55.5, "low": 54.5, "high": 56.5} | here,
        "latency": {"feature": "backbone", "threads": 1, "batch": 64, "tried_seconds": 9.0}
        | {"image_ms": 12.34, "images_per_second": 98.7, **here},
        "size": {"parameters": {"backbone": 11_000_000, "representation": 2_300_000}}
        | {"bytes": 26_700_000, "files": ["model.safetensors"]},
    }.items():
        (run / f"{part}.json").write_text(json.dumps(found))
    wanted = ["80.00 (79.20–80.77)", "cifar100 55.50 (54.50–56.50)", "12.3 ms", "99/s"]
    wanted += ["13.3 million", "26.7 MB"]
    text, page = board.results(), board.leaderboard()
    assert ["resnet18-cifar10-a", *wanted] in rows_of(page)
    assert f"| `resnet18-cifar10-a` | {' | '.join(wanted)} |" in text
    assert ["resnet18-thin-cifar10-b", *6 * ["-"]] in rows_of(page)
    assert "with 1 thread of cpu: some processor" in text
    assert "with 1 thread of cpu: some processor" in page


def test_a_picture_has_the_robust_above_and_the_cheap_on_the_left(board):
    from board import sections
    from scatter import scatters

    (section,) = sections(board.runs(), board.ROOT / "docs")
    entries = [entry for group in section.groups for entry in group.entries]
    over_clean, over_cost = (
        {mark.name: mark for mark in chart.marks}
        for chart in scatters(section, [entry.flop for entry in entries])
    )
    assert set(over_clean) == {"resnet18-a", "resnet18-thin-b", "Theirs", "Others"}

    def ordered(marks, place):
        return sorted(marks, key=lambda name: place(marks[name]))

    robust = ["resnet18-thin-b", "resnet18-a", "Others", "Theirs"]
    for marks in (over_clean, over_cost):
        assert ordered(marks, lambda mark: -mark.dots[0].y) == robust
    accurate = ["resnet18-thin-b", "Others", "resnet18-a", "Theirs"]
    assert ordered(over_clean, lambda mark: mark.dots[0].x) == accurate
    dear = ["resnet18-thin-b", "resnet18-a", "Others", "Theirs"]
    assert ordered(over_cost, lambda mark: mark.dots[0].x) == dear
    assert ordered(over_clean, lambda mark: mark.radius) == dear
    (pgd, ensemble) = over_clean["resnet18-a"].dots
    assert (pgd.ensemble, ensemble.ensemble) == (False, True)
    assert ensemble.y > pgd.y
    assert {name for name, mark in over_cost.items() if mark.least} == {"Theirs", "Others"}


def test_names_in_a_crowd_hide_nothing(board, tmp_path):
    from board import sections
    from scatter import box_of, scatters

    crowd = [
        {"encoder": f"encoder {i}", "pretraining": "-", "epochs": 900}
        | {"cifar10": {"clean": 80 + i / 4, "autoattack": 45 + i % 3}}
        for i in range(9)
    ]
    (tmp_path / "docs/published.json").write_text(json.dumps([BOARD | {"rows": crowd}]))
    (section,) = sections(board.runs(), board.ROOT / "docs")
    for chart in scatters(section, [1e15, 1e18]):
        names = [mark.spot.box for mark in chart.marks if mark.spot]
        assert len(names) > len(chart.marks) / 2
        dots = [box_of(mark, dot) for mark in chart.marks for dot in mark.dots]
        for i, name in enumerate(names):
            assert not any(name.meets(other) for other in [*names[:i], *dots])


def test_the_leaderboard_is_one_file_that_needs_no_script(board):
    page = board.leaderboard()
    assert page.count("<svg") > 2
    assert not re.search(r"<script|<link(?! rel=\"icon\" href=\"data:,\")|src=|url\(|@import", page)


def test_check_finds_a_stale_leaderboard(board, tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text("<!-- table -->\n<!-- /table -->")
    monkeypatch.setattr("sys.argv", ["generate.py"])
    assert board.main() == 0
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert board.main() == 0
    published = tmp_path / "docs/published.json"
    published.write_text(published.read_text().replace("46.25", "46.35"))
    capsys.readouterr()
    assert board.main() == 1
    assert capsys.readouterr().out.split("\n")[:2] == [
        "stale: results.md",
        "stale: leaderboard.html",
    ]
