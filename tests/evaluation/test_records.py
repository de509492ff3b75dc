"""Rows into a release, protocol by protocol, once each."""

import shutil
from dataclasses import replace

import pytest
import torch

from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.evaluation import records
from cfamc_zoo.evaluation.protocols import load_protocol
from cfamc_zoo.evaluation.records import Terms, measure, read_records, records_of
from cfamc_zoo.zoo.release.folder import MODEL, PROBE, RESULTS, open_release, write_files
from cfamc_zoo.zoo.release.loading import load_probe
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, accuracies, differences, read_results

TERMS = Terms(torch.device("cpu"), "cifar10-sample", "mine", limit=20)
QUICK = """
text = "{text}"
[head]
select = "clean"
[[attacks]]
eps = ["2/255"]
settings = {{ steps = 1 }}
"""


def quick(tmp_path, key, text):
    file = tmp_path / f"{key}.toml"
    file.write_text(QUICK.format(text=text))
    return load_protocol(str(file))


@pytest.fixture
def own(tmp_path):
    """The protocol of the released head, cheaper."""
    return quick(tmp_path, "own", OWN_PROTOCOL)


@pytest.fixture
def carried(tmp_path):
    """A protocol of another attack on the head that is there."""
    file = tmp_path / "other-attack.toml"
    text = QUICK.format(text="another attack").replace('select = "clean"', 'head = "released"')
    file.write_text(text)
    return load_protocol(str(file))


@pytest.fixture
def bare(tiny_release, tmp_path):
    """A release without a head; it has the rows of an export."""
    folder = shutil.copytree(tiny_release, tmp_path / "bare")
    release = open_release(folder)
    (folder / PROBE).unlink()
    files = {k: v for k, v in release.config.files.items() if k != PROBE}
    write_files(folder, replace(release.config, files=files), {})
    return folder


def test_rows_and_the_head_come_into_the_release_and_are_made_once(
    bare, own, tmp_path, monkeypatch
):
    other = quick(tmp_path, "other", "another head")
    before = differences(read_results(open_release(bare)))
    release = measure(bare, [other, own], TERMS)
    rows = read_results(release)
    assert [r.protocol for r in accuracies(rows)] == [OWN_PROTOCOL] * 2 + ["another head"] * 2
    assert before and differences(rows) == before
    assert {(r.data, r.n) for r in accuracies(rows)} == {("cifar10-sample", 20)}
    assert accuracies(rows)[0].command.startswith("cfamc-zoo attack -m mine --data cifar10-sample")
    assert "--probe" not in accuracies(rows)[0].command
    open_release(bare).verify()
    folder = records_of(release)
    assert release.read(PROBE) == (folder / "own.safetensors").read_bytes()
    assert load_probe(release).data == "cifar10-sample"
    assert [r.key for r in read_records(folder)] == ["own", "other"], "the released head first"
    assert sorted(f.name for f in folder.iterdir()) == [
        f"{key}{end}" for key in ("other", "own") for end in (".json", ".safetensors")
    ]

    def again(*arguments, **more):
        raise AssertionError("it is recorded")

    monkeypatch.setattr(records, "fit_release", again)
    kept = release.read(RESULTS)
    assert measure(bare, [own, other], TERMS).read(RESULTS) == kept


def test_what_was_stopped_goes_on_with_the_protocol_it_was_in(bare, own, tmp_path, monkeypatch):
    class BrokenError(Exception):
        pass

    other = quick(tmp_path, "other", "another head")
    fit, fitted = records.fit_release, []

    def once(*arguments, **more):
        fitted.append(1)
        if len(fitted) == 2:
            raise BrokenError
        return fit(*arguments, **more)

    monkeypatch.setattr(records, "fit_release", once)
    with pytest.raises(BrokenError):
        measure(bare, [own, other], TERMS)
    release = open_release(bare)
    assert {r.protocol for r in accuracies(read_results(release))} == {OWN_PROTOCOL}
    rows = read_results(measure(bare, [own, other], TERMS))
    assert {r.protocol for r in accuracies(rows)} == {OWN_PROTOCOL, "another head"}
    assert len(fitted) == 3


def test_a_record_of_something_else_is_not_taken_and_not_replaced(bare, own):
    measure(bare, [own], TERMS)
    for said, terms in (
        ("limit", {"limit": 10}),
        ("name", {"name": "yours"}),
        ("seed", {"seed": 1}),
    ):
        with pytest.raises(OutputExistsError, match=f"measured with another {said}; move it away"):
            measure(bare, [own], replace(TERMS, **terms))
    release = open_release(bare)
    retrained = replace(release.config.files[MODEL], sha256="0" * 64)
    files = release.config.files | {MODEL: retrained}
    write_files(bare, replace(release.config, files=files), {})
    with pytest.raises(OutputExistsError, match="measured with another weights"):
        measure(bare, [own], TERMS)


def test_another_measurement_makes_the_head_it_had_put_there_anew(bare, own):
    first = measure(bare, [own], TERMS)
    (records_of(first) / "own.json").unlink()
    release = measure(bare, [own], replace(TERMS, limit=30))
    (record,) = read_records(records_of(release))
    assert record.head["train_images"] == 30
    assert release.read(PROBE) == (records_of(first) / "own.safetensors").read_bytes()


def test_a_head_that_was_chosen_elsewhere_is_not_passed_off(tiny_release, own, tmp_path):
    folder = shutil.copytree(tiny_release, tmp_path / "with a head")
    with pytest.raises(UsageError, match="does not say how it was chosen"):
        measure(folder, [own], TERMS)
    other = quick(tmp_path, "other", "another head")
    rows = read_results(measure(folder, [other], TERMS))
    assert {r.protocol for r in accuracies(rows)} == {"another head"}
    assert open_release(folder).read(PROBE) == (tiny_release / PROBE).read_bytes()


def test_two_protocols_whose_rows_could_not_be_told_apart_are_refused(bare, own, tmp_path):
    with pytest.raises(UsageError, match="two protocols have the text"):
        measure(bare, [own, quick(tmp_path, "other", OWN_PROTOCOL)], TERMS)
    with pytest.raises(UsageError, match="two protocols have the key 'own'"):
        measure(bare, [own, load_protocol("own")], TERMS)
    assert not records_of(open_release(bare)).exists()


def test_a_released_head_is_measured_as_it_is(bare, own):
    before = measure(bare, [own], TERMS)
    shutil.rmtree(records_of(before))  # as one has it who pulled the release
    after = measure(bare, [own], TERMS)
    (record,) = read_records(records_of(after))
    assert record.head == {}
    assert after.read(PROBE) == before.read(PROBE)


def test_a_protocol_of_the_released_head_fits_none(bare, own, carried):
    with pytest.raises(UsageError, match="has no head for protocol 'other-attack'; give --protoc"):
        measure(bare, [carried], TERMS)
    release = measure(bare, [own, carried], TERMS)
    rows = [r for r in accuracies(read_results(release)) if r.protocol == "another attack"]
    assert [r.metric for r in rows] == ["clean accuracy", "robust accuracy"]
    assert all("--probe" not in r.command for r in rows)
    assert read_records(records_of(release))[1].head == {}
    assert not (records_of(release) / "other-attack.safetensors").exists()
