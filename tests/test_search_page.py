"""The page that shows one search with two encoders."""

from pathlib import Path

import pytest

from tests.scripts import script

ROOT = Path(__file__).parent.parent


@pytest.fixture
def page():
    return script(ROOT / "docs/search_page.py")


def test_both_encoders_answer_the_same_queries(page, tiny_release, sample, tmp_path):
    out = tmp_path / "page.html"
    models = ["--robust", "resnet18-thin-cifar10-free", "--standard", str(tiny_release)]
    page.main([*models, "--images", "30", "--queries", "3", "--shown", "2", "-o", str(out)])
    text = out.read_text()
    robust, standard = text.split("<h2")[1:3]
    first = f"0000-{sample.classes[sample.labels[0]]}.png"
    for part, name in ((robust, "resnet18-thin-cifar10-free"), (standard, "tiny")):
        assert f": {name}, " in part and "of 10 neighbours stay on average" in part
        assert part.count("as it is</h4>") == part.count("attacked, 8/255</h4>") == 2
        assert part.count("<img") == 2 * (2 + 10 + 10)
        assert f'alt="{first}, query"' in part
    assert "python docs/search_page.py --robust resnet18-thin-cifar10-free" in text
    assert str(tmp_path) not in text.replace(str(tiny_release), "")
