"""The page stands alone, shows what was measured and trusts no name."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cfamc_zoo.evaluation.attacks.ensemble import AUTOATTACK
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.features import FeatureRobustness
from cfamc_zoo.evaluation.reports.accuracy_page import Page, render
from cfamc_zoo.evaluation.reports.chart import round_levels
from cfamc_zoo.evaluation.reports.facts import card_of, facts_of
from cfamc_zoo.evaluation.reports.page import Picture
from cfamc_zoo.evaluation.reports.vector_page import VectorPage, render_vectors
from cfamc_zoo.evaluation.robustness import Accuracy
from cfamc_zoo.zoo.catalogue.registry import list_models
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.threat import Linf

HOSTILE = '<script>alert("x")</script>'


def page_of(**changes):
    stands = [True] * 6 + [False] * 4
    accuracies = [
        Accuracy("clean accuracy", "", "", [True] * 8 + [False] * 2, 0.5),
        Accuracy("robust accuracy", "APGD-CE", "8/255", stands, 1.0, 8),
        Accuracy("robust accuracy", "AutoAttack", "8/255", stands, 2.0, 8),
    ]
    clean = np.full((3, 4, 4), 0.5, np.float32)
    picture = Picture(clean, clean + 1 / 255, "cat", "cat", HOSTILE)
    values = {
        "title": f"model {HOSTILE}",
        "facts": [("seed", "0"), ("name", HOSTILE)],
        "accuracies": accuracies,
        "worst": "AutoAttack",
        "threats": [Linf.of("8/255")],
        "doubts": [],
        "pictures": [picture],
        "command": "cfamc-zoo attack",
        "date": "2026-01-31",
    }
    return Page(**(values | changes))


def page(**changes):
    return render(page_of(**changes))


def vectors(**changes):
    result = FeatureRobustness(
        eps="8/255",
        push_quantiles=[0.0, 0.25, 0.5],
        pull_quantiles=[0.125, 0.75],
        push_distances=[1.0, 4.25, 5.0],
        pull_distances=[7.5, 8.5],
        typical=(9.0, 10.5, 12.0),
        breakaway_risk=0.0175,
        overlap_risk=1.0,
        nearest=[0, 0, 2],
        seconds=1.0,
    )
    clean = np.full((3, 4, 4), 0.5, np.float32)
    values = {
        "title": f"model {HOSTILE}",
        "facts": [("seed", "0"), ("name", HOSTILE)],
        "results": [result],
        "threats": [Linf.of("8/255")],
        "pictures": [
            Picture(clean, clean + 1 / 255, "image 1", "image 1", "image 0"),
            Picture(clean, clean + 1 / 255, "image 2", "image 2", HOSTILE),
        ],
        "command": "cfamc-zoo attack",
    }
    return render_vectors(VectorPage(**(values | changes)))


class Balanced(HTMLParser):
    void = frozenset(("meta", "link", "img", "line", "polygon", "polyline", "circle", "rect"))

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [page, vectors])
def test_tags_close_and_nothing_is_fetched(make):
    text = make()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "url(" not in text and "@import" not in text


@pytest.mark.parametrize("make", [page, vectors])
def test_names_are_text(make):
    assert HOSTILE not in make()
    assert "&lt;script&gt;" in make()
    threats = [Linf.of("8/255"), Linf(1.0, HOSTILE)]
    assert HOSTILE not in make(command=HOSTILE, card=HOSTILE, date=HOSTILE, threats=threats)
    assert HOSTILE not in page(doubts=[HOSTILE])


@pytest.mark.parametrize("make", [page, vectors])
def test_a_page_says_when_how_and_of_which_model(make):
    text = make(card="https://example.org/card", date="2026-01-31")
    assert "<dt>date</dt><dd>2026-01-31</dd>" in text
    assert '<a href="https://example.org/card">https://example.org/card</a>' in text
    assert "<a " not in make(), "no card, no link"
    assert re.search(r"<dd>20\d\d-\d\d-\d\d</dd>", make()), "the day it was measured"


@pytest.mark.parametrize("make", [page, vectors])
def test_nothing_is_cut_on_a_narrow_screen(make):
    text = make(command="cfamc-zoo attack --data " + "x" * 300)
    assert "nowrap" not in text and "overflow-x" not in text
    (style,) = re.findall(r"^pre \{.*?\}", text, re.MULTILINE | re.DOTALL)
    assert "pre-wrap" in style and "overflow-wrap: anywhere" in style
    assert '<pre class="command">cfamc-zoo attack --data' in text
    for row in re.findall(r"<tr><td.*?</tr>", text):
        assert row.count("<td") == row.count("data-name="), "a cell alone says what it is"


def test_words_of_verdicts_are_explained_and_axes_are_named():
    text = page()
    assert "<b>fell</b> when" in text and "<b>stands</b> when" in text
    assert "<b>lost</b>" in vectors() and "<b>found again</b> when" in vectors()
    assert ">accuracy, %</text>" in text and "epsilon, the largest perturbation (linf)" in text
    assert ">distance of two vectors</text>" in vectors()
    assert "change ×128" in text


def test_a_label_at_the_top_is_inside_the_picture():
    all_right = Accuracy("clean accuracy", "", "", [True] * 4, 1.0)
    robust = Accuracy("robust accuracy", "PGD-20", "1/255", [True] * 4, 1.0, 4)
    chart = page_of(
        accuracies=[all_right, robust], threats=[Linf.of("1/255")], worst="PGD-20"
    ).chart()
    places = chart.lines()[0].places
    assert [p.label for p in places] == ["100.0", "100.0"]
    assert all(p.above - 13 > 18 for p in places), "under the axis' name"
    assert (places[0].anchor, places[-1].anchor) == ("start", "end")


@pytest.mark.parametrize(
    ("largest", "levels"),
    [(20.1, [0, 5, 10, 15, 20, 25]), (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.0, [0, 1])],
)
def test_levels_of_an_axis_are_round(largest, levels):
    assert round_levels(largest) == pytest.approx(levels)


def test_a_label_free_page_is_no_page_of_accuracies():
    text = " ".join(vectors().split())
    assert "This is no robust accuracy" in text
    assert "<h2>Accuracy" not in text and "% clean" not in text
    assert "among <b>3</b> images" in text
    assert "moved by 4.25 or more" in text and "25.0% of all pairs are so far apart" in text
    assert "as near to its vector as 8;" in text and "43.8% of all pairs are so near" in text
    assert "In 1.75% of comparisons" in text and "In 100% of the pairs" in text
    assert "for 2 of 3 (66.7%, 95% interval 20.8 to 93.9)" in text
    assert "lie 10.5 apart" in text and "between 9 and 12" in text


RECORD = {
    "model": "tiny",
    "sha256": "ab",
    "data": "cifar10-sample",
    "norm": "l2",
    "eps": ["0.5", "1.0"],
    "step_size": None,
    "restarts": 1,
    "start": "zero",
    "loss": "dlr",
    "crops": {"count": 3, "scale": [0.2, 1.0], "ratio": [0.75, 1.33], "seed": 5},
    "new_key": {"part_one": [1, 2], "part_two": None, "part_three": True},
    "versions": {"torch": "2", "python": "3"},
    "device": "cpu: x86_64",
}


def test_facts_are_words_and_not_python_or_json():
    facts = dict(facts_of(RECORD, Pgd()))
    assert facts["length of a step"] == "2.5 × epsilon / steps"
    assert facts["start"] == "at the image itself"
    assert facts["loss"] == "difference of logits ratio (DLR)"
    assert facts["crops"] == "the mean of 3 crops of 20% to 100% of the area, drawn from seed 5"
    assert facts["epsilon, its bound"] == "0.5, 1.0 of the pixel range"
    assert facts["new key"] == "part one 1, 2, part two none, part three yes"
    assert facts["versions"] == "torch 2, python 3"
    assert facts["computed on"] == "the CPU, x86_64"
    for text in (*facts, *facts.values()):
        assert not re.search(r"[\[\]{}\"'_]|None|null|True|False", text.replace("x86_64", "")), text
    settings = {"settings": ["Apgd(loss='ce')"]}
    members = dict(facts_of(settings, AUTOATTACK))
    assert members["APGD-CE"] == "loss cross entropy, steps 100, restarts 1"
    assert members["Square"] == "queries 5,000"
    assert facts_of(settings, Pgd()) == [], "said one by one already"


def test_the_card_is_on_the_hub_or_in_the_folder(tiny_release, tmp_path, monkeypatch):
    release = open_release(tiny_release)
    monkeypatch.chdir(tiny_release.parent)
    assert card_of("tiny", release) == (tiny_release / "README.md").as_uri()
    assert card_of("some/model@main", release) == "https://huggingface.co/some/model"
    spec = list_models()[0]
    assert card_of(spec.name, release) == f"https://huggingface.co/{spec.repo}"
    known = dataclasses.replace(release, config=dataclasses.replace(release.config, name=spec.name))
    assert card_of(None, known) == f"https://huggingface.co/{spec.repo}", "by its own name"
    (tmp_path / "none").mkdir()
    bare = dataclasses.replace(release, folder=tmp_path / "none")
    assert card_of(str(tmp_path / "none"), bare) == ""


def test_it_shows_the_numbers_the_verdict_and_the_labels():
    text = page()
    assert "<b>80.0%</b> clean, <b>60.0%</b> at 8/255" in text
    assert "31.27 to 83.18" in text
    assert "perturbed: &lt;script" in text
    assert 'class="fell"' in text
    assert "raised no doubt" in text
    assert "Reasons for doubt" in page(doubts=["zero gradients"])
    assert text.count("data:image/png;base64,") == 3


@pytest.mark.parametrize(
    ("shape", "mode"), [((1, 5, 3), "L"), ((2, 5, 3), "L"), ((3, 9, 2), "RGB"), ((4, 2, 9), "RGB")]
)
def test_pictures_have_any_shape_and_say_what_they_leave_out(shape, mode):
    clean = np.random.default_rng(0).random(shape, np.float32) * 0.5
    text = page(pictures=[Picture(clean, clean + 1 / 255, "cat", "cat", "dog")])
    encoded = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    for content in encoded:
        with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
            assert picture.mode == mode
            assert picture.size == (shape[2], shape[1])
    assert len(encoded) == 3
    assert (f"Of {shape[0]} channels" in text) == (shape[0] in (2, 4))


def test_without_pictures_or_at_radius_zero_there_is_still_a_page():
    zero = Accuracy("robust accuracy", "PGD-20", "0", [True], 1.0, 1)
    clean = Accuracy("clean accuracy", "", "", [True], 1.0)
    threats = [Linf.of("0")]
    text = page(accuracies=[clean, zero], worst="PGD-20", pictures=[], threats=threats)
    assert "nan" not in text
