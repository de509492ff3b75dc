"""From what the commands answer to the rows of a card, on answers made by hand."""

import importlib.util
import json
from pathlib import Path

import pytest

from cfamc_zoo.cli.app import run
from cfamc_zoo.evaluation.protocols import CLEAN_HEAD, PUBLISHED, protocols
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL

ROOT = Path(__file__).parent.parent.parent
HERE = {"versions": {"torch": "2.9"}, "device": "cpu: some"}


def found(metric, value, **more):
    return {"metric": metric, "attack": "", "eps": "", "n": 200, "value": value} | {
        "low": value - 1.23456,
        "high": value + 1.23456,
        "seconds": 1.5,
        "correct": [True],
        **more,
    }


SAME = "--attack pgd --steps 20 --restarts 3 --start random --norm linf --eps 8/255 --seed 5"


def answer(data):
    attacked = found("robust accuracy", 100 / 3, attack="PGD-20", eps="8/255")
    results = [found("clean accuracy", 57.5), attacked]
    settings = {"norm": "linf", "steps": 20, "restarts": 3, "seed": 5}
    settings["command"] = (
        f"cfamc-zoo attack -m '/my runs/release' --data {data} --probe /own.safetensors {SAME}"
    )
    return HERE | settings | {"data": data, "results": results}


def test_which_protocols_there_are():
    assert [(p.text, p.sets) for p in protocols("cifar10")] == [
        (OWN_PROTOCOL, ("cifar10", "cifar10-sample")),
        (CLEAN_HEAD, ("cifar10",)),
    ]
    more = protocols("cifar100", published=True, crops=(1, 16), limit=300)
    assert [p.key for p in more] == ["own", "clean-head", "published", "crops-1", "crops-16"]
    assert all(p.sets == ("cifar100",) for p in more)
    assert [p.text for p in more][2:] == [
        PUBLISHED,
        f"{OWN_PROTOCOL}; mean of 1 crops",
        f"{OWN_PROTOCOL}; mean of 16 crops",
    ]
    assert more[0].head == ("--select", "robust", "--limit", "300")
    assert more[1].head == ("--limit", "300"), "no selection: the most accurate one"
    assert all(call[-2:] == ("--limit", "300") for p in more for call in p.attacks)


def test_rows_are_the_answer_and_a_clean_one_has_no_attack():
    own = protocols("cifar10")[0]
    clean, robust = own.rows(answer("cifar10"), "some")
    assert clean["protocol"] == robust["protocol"] == OWN_PROTOCOL
    assert [clean[key] for key in ("attack", "norm", "eps", "steps", "restarts")] == [
        *("", "", ""),
        *(0, 0),
    ]
    assert [robust[key] for key in ("attack", "norm", "eps", "steps", "restarts")] == [
        *("PGD-20", "linf", "8/255"),
        *(20, 3),
    ]
    assert (robust["value"], robust["low"], robust["high"]) == (33.3333, 32.0988, 34.5679)
    assert (clean["value"], clean["n"], clean["seed"], clean["data"]) == (57.5, 200, 5, "cifar10")
    assert clean["device"] == "cpu: some" and clean["versions"] == {"torch": "2.9"}
    assert not {"correct", "seconds"} & set(clean)
    assert clean["command"] == f"cfamc-zoo attack -m some --data cifar10 {SAME}"


def test_settings_that_an_attack_lacks_are_none_in_its_row():
    square = {k: v for k, v in answer("cifar10").items() if k not in ("steps", "restarts")}
    row = protocols("cifar10")[0].rows(square, "some")[1]
    assert (row["steps"], row["restarts"], row["norm"]) == (0, 0, "linf")


def test_a_head_that_no_release_has_is_made_by_its_command():
    clean, published = protocols("cifar10", published=True, limit=9)[1:]
    (row, _) = clean.rows(answer("cifar10"), "some")
    made, attacked = row["command"].split(" && ")
    assert made == "cfamc-zoo probe -m some --data cifar10 --limit 9 -o clean-head.safetensors"
    assert attacked == (
        f"cfamc-zoo attack -m some --data cifar10 --probe clean-head.safetensors {SAME}"
    )
    (row, _) = published.rows(answer("cifar10-sample"), "some")
    assert row["command"].startswith(
        "cfamc-zoo probe -m some --data cifar10 --head published --limit 9 "
        "-o published.safetensors && cfamc-zoo attack -m some --data cifar10-sample "
        "--probe published.safetensors "
    )


@pytest.mark.parametrize(
    "protocol", protocols("cifar10", published=True, crops=(4,)), ids=lambda p: p.key
)
def test_the_command_line_takes_every_protocol(protocol, capsys):
    """Up to the model, which there is not."""
    for attack in protocol.attacks:
        assert run(["attack", "-m", "nobody", *attack]) == 2
        assert "unknown model 'nobody'" in capsys.readouterr().err
    assert run(["probe", "-m", "nobody", *protocol.head]) == 2
    assert "unknown model 'nobody'" in capsys.readouterr().err


def test_a_run_is_measured_once_a_protocol(tmp_path, monkeypatch):
    found = importlib.util.spec_from_file_location("measure", ROOT / "tools/measure.py")
    tool = importlib.util.module_from_spec(found)
    found.loader.exec_module(tool)
    called = []

    def zoo(*arguments):
        called.append(arguments)
        if arguments[0] == "probe":
            return {"sha256": "abc", "decay": 0.1, "output": arguments[-1]}
        return answer(arguments[arguments.index("--data") + 1])

    monkeypatch.setattr(tool, "zoo", zoo)
    own = protocols("cifar10")[0]
    for _ in range(2):
        tool.measure(tmp_path, "some", own)
    assert [(c[0], c[c.index("--data") + 1]) for c in called] == [
        ("probe", "cifar10"),
        ("attack", "cifar10"),
        ("attack", "cifar10-sample"),
    ]
    kept = json.loads((tmp_path / "own.json").read_text())
    assert kept["sha256"] == "abc"
    assert kept["head"] == {"sha256": "abc", "decay": 0.1, "output": "own.safetensors"}
    assert [row["data"] for row in kept["rows"]] == ["cifar10"] * 2 + ["cifar10-sample"] * 2
