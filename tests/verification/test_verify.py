"""A release that holds, how far it is verified, and how that is told."""

from dataclasses import replace

import pytest

from cfamc_zoo.cli.app import run
from cfamc_zoo.verification import accuracies as measuring
from cfamc_zoo.zoo.release.folder import CONFIG, GOLDEN, PROBE, RESULTS, open_release, write_files
from cfamc_zoo.zoo.release.results import accuracies, read_results

from .conftest import CLEAN, IMAGES, PGD, change_rows, change_tensors, claim_more, repin


def test_an_untouched_release_holds_image_by_image(measured, verify):
    code, findings, said = verify(measured)
    assert code == 0
    assert {f["verdict"] for s, f in findings.items() if s != CONFIG} == {"holds"}
    assert findings[CONFIG]["verdict"] == "not stored", "no registry knows it"
    for subject in (CLEAN, PGD):
        assert findings[subject]["numbers"]["images"] == IMAGES
        assert findings[subject]["numbers"]["differing"] == 0
        assert findings[subject]["measured"].endswith(f"%, 0/{IMAGES} differ")
    assert {f["check"] for f in findings.values()} == {
        *("registry", "files", "card", "onnx", "golden values", "accuracies")
    }
    assert "warning" not in said


def test_measure_keeps_the_verdicts_of_the_sample(measured):
    rows = accuracies(read_results(open_release(measured)))
    assert [row.metric for row in rows] == ["clean accuracy", "robust accuracy"]
    for row in rows:
        assert len(row.correct) == row.n == IMAGES
        assert row.value == pytest.approx(100 * row.correct.count("1") / row.n, abs=1e-4)
    clean, robust = rows
    assert all(c >= r for c, r in zip(clean.correct, robust.correct, strict=True))


def test_an_older_release_says_that_it_stores_less(card, verify):
    """No verdicts, no golden values, no results: nothing of that is a fault."""
    release = open_release(card)
    files = {name: record for name, record in release.config.files.items() if name != GOLDEN}
    (card / GOLDEN).unlink()
    write_files(card, replace(release.config, files=files), {})
    change_rows(card, lambda row: replace(row, correct=""))
    assert '"correct"' not in (card / RESULTS).read_text()
    code, findings, _ = verify(card)
    assert code == 0
    assert findings["golden values", GOLDEN]["verdict"] == "not stored"
    assert findings[CLEAN]["measured"].endswith("% of 40")
    assert findings[CLEAN]["tolerance"] == "1 image, counted"
    code, findings, _ = verify(card, "--limit", 10)
    assert findings[CLEAN]["tolerance"] == "95% intervals"
    assert code == 0


def test_a_release_without_results_claims_no_accuracy(tiny_release, verify):
    code, findings, _ = verify(tiny_release)
    assert code == 0
    assert findings[RESULTS]["verdict"] in ("holds", "not stored")


def test_a_limit_is_partial_and_says_so(measured, verify, capsys):
    code, findings, said = verify(measured, "--limit", 10)
    assert code == 0
    assert findings[PGD]["numbers"]["images"] == 10
    assert "partial: at most 10 images of each set were measured" in said


def fitted(row):
    """A row of a head that its command makes."""
    probe = "cfamc-zoo probe -m tiny --data cifar10-sample --limit 40 -o h.safetensors"
    attack = row.command.replace("--data", "--probe h.safetensors --data")
    return replace(row, protocol="another head", command=f"{probe} && {attack}", correct="")


def test_quick_leaves_heads_that_must_be_made_and_full_makes_them_once(
    card, verify, tmp_path, monkeypatch
):
    change_rows(card, fitted)
    code, findings, said = verify(card)
    assert code == 0
    assert {findings[s]["verdict"] for s in (CLEAN, PGD)} == {"left out"}
    assert "2 are left out (--full" in said

    state = tmp_path / "state"
    _, findings, _ = verify(card, "--full", "--state", state)
    assert {findings[s]["verdict"] for s in (CLEAN, PGD)} == {"holds"}
    assert findings[PGD]["numbers"]["images"] == IMAGES
    monkeypatch.setattr(measuring, "fit_release", None)
    monkeypatch.setattr(measuring, "go_through", None)
    assert verify(card, "--full", "--state", state)[1] == findings, "from what the state knows"
    # A state is of these weights and this head alone.
    monkeypatch.undo()
    change_tensors(card, PROBE, lambda t: {**t, "bias": t["bias"] + 1})
    repin(card, PROBE)
    monkeypatch.setattr(measuring, "go_through", lambda *_: pytest.fail("measured anew"))
    with pytest.raises(pytest.fail.Exception, match="measured anew"):
        verify(card, "--full", "--state", state)


def test_the_table_and_the_page_say_the_same(card, tmp_path, capsys):
    change_rows(card, claim_more)
    page = tmp_path / "page.html"
    assert run(["verify", str(card), "--report", str(page)]) == 1
    out, _ = capsys.readouterr()
    text = page.read_text()
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[2] == ["claim of", "claim", "measured", "tolerance", "verdict"]
    (robust,) = [line for line in lines if line[0] == PGD]
    assert robust[-1] == "lowered"
    for part in robust:
        assert part in text
    assert "Not every claim holds" in text and "the attack finds more than the card says" in text
    assert f"cfamc-zoo verify {card} --quick" in text
    assert run(["verify", str(card), "--report", str(page)]) == 2
    assert "already there" in capsys.readouterr().err


def test_a_state_that_is_no_folder_is_refused(measured, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert run(["verify", str(measured), "--state", str(file)]) == 2
    assert "is not a folder; give another --state" in capsys.readouterr().err
