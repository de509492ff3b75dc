"""The page stands alone, shows what was measured and trusts no name."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cfamc_zoo.evaluation.report import Page, Picture, render
from cfamc_zoo.evaluation.robustness import Accuracy

HOSTILE = '<script>alert("x")</script>'


def page(**changes):
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
        "norm": "linf",
        "doubts": [],
        "pictures_eps": "8/255",
        "pictures": [picture],
        "command": "cfamc-zoo attack",
    }
    return render(Page(**(values | changes)))


class Balanced(HTMLParser):
    void = frozenset(("meta", "link", "img", "line", "polygon", "polyline", "circle"))

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


def test_tags_close_and_nothing_is_fetched():
    text = page()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "url(" not in text and "@import" not in text


def test_names_are_text():
    assert HOSTILE not in page()
    assert "&lt;script&gt;" in page()
    assert HOSTILE not in page(doubts=[HOSTILE], command=HOSTILE)


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
    text = page(accuracies=[clean, zero], worst="PGD-20", pictures=[])
    assert "nan" not in text
