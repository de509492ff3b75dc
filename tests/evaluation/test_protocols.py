"""From a TOML file to the rows of a card, on answers made by hand."""

import json
from pathlib import Path

import pytest

from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.protocols import list_protocols, load_protocol
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, accuracies, parse_rows

ROOT = Path(__file__).parent.parent.parent
HERE = {"versions": {"torch": "2.9"}, "device": "cpu: some"}


def found(metric, value, **more):
    return {"metric": metric, "attack": "", "eps": "", "n": 200, "value": value} | {
        "low": value - 1.23456,
        "high": value + 1.23456,
        "seconds": 1.5,
        "correct": [True, False] * 100,
        **more,
    }


SAME = "--attack pgd --steps 20 --restarts 3 --start random --norm linf --eps 8/255 --seed 5"


def answer(data):
    attacked = found("robust accuracy", 100 / 3, attack="PGD-20", eps="8/255")
    results = [found("clean accuracy", 57.5), attacked]
    settings = {"norm": "linf", "steps": 20, "restarts": 3, "seed": 5}
    settings["command"] = f"cfamc-zoo attack -m some --data {data} --limit 9 {SAME}"
    return HERE | settings | {"data": data, "results": results}


def test_the_sentences_of_rows_that_are_out_there_stay():
    texts = {key: load_protocol(key).text for key in list_protocols()}
    assert (
        texts.items()
        >= {
            "own": OWN_PROTOCOL,
            "clean-head": "linear head chosen for clean accuracy; PGD, random start",
            "published": "the paper's public script: its head, zero start, step 0.01",
            "autoattack": "linear head chosen for robustness; AutoAttack",
            **{f"crops-{n}": f"{OWN_PROTOCOL}; mean of {n} crops" for n in (1, 16, 64)},
        }.items()
    )
    assert len({*texts.values()}) == len(texts), "rows are told apart by them"
    assert [key for key in texts if load_protocol(key).released] == ["autoattack", "own"]


@pytest.mark.parametrize(
    "file",
    [*ROOT.glob("cfamc_zoo/zoo/bundled/*/results.json"), *ROOT.glob("docs/runs/*/results.json")],
    ids=lambda f: f.parent.name,
)
def test_every_row_that_was_published_is_of_a_protocol_that_is_known(file):
    measured = accuracies(parse_rows(file.read_bytes(), file.name))
    texts = {load_protocol(key).text for key in list_protocols()}
    assert measured and {row.protocol for row in measured} <= texts


def test_the_sample_is_attacked_where_there_is_one():
    own, clean = load_protocol("own"), load_protocol("clean-head")
    assert own.data("cifar10") == ["cifar10", "cifar10-sample"]
    assert own.data("cifar100") == ["cifar100", "cifar100-sample"]
    assert own.data("photos/") == ["photos/"]
    assert clean.data("cifar10") == ["cifar10"]


def test_rows_are_the_answer_and_a_clean_one_has_no_attack():
    clean, robust = load_protocol("own").rows(answer("cifar10"), "")
    assert clean.protocol == robust.protocol == OWN_PROTOCOL
    assert (clean.attack, clean.norm, clean.eps, clean.steps, clean.restarts) == ("", "", "", 0, 0)
    assert (robust.attack, robust.norm, robust.eps) == ("PGD-20", "linf", "8/255")
    assert (robust.steps, robust.restarts) == (20, 3)
    assert (robust.value, robust.low, robust.high) == (33.3333, 32.0988, 34.5679)
    assert (clean.value, clean.n, clean.seed, clean.data) == (57.5, 200, 5, "cifar10")
    assert clean.device == "cpu: some" and clean.versions == {"torch": "2.9"}
    assert clean.command == f"cfamc-zoo attack -m some --data cifar10 --limit 9 {SAME}"


def test_settings_that_an_attack_lacks_are_none_in_its_row():
    square = {k: v for k, v in answer("cifar10").items() if k not in ("steps", "restarts")}
    row = load_protocol("own").rows(square, "")[1]
    assert (row.steps, row.restarts, row.norm) == (0, 0, "linf")


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("clean-head", ""),
        ("published", "--head published "),
        ("crops-16", "--select robust --crops 16 "),
    ],
)
def test_a_head_that_no_release_has_is_made_by_its_command(key, options):
    protocol = load_protocol(key)
    made = protocol.fitting("some", "cifar10", 9, seed=0)
    assert made == (
        f"cfamc-zoo probe -m some --data cifar10 {options}--limit 9 -o {key}.safetensors"
    )
    assert protocol.rows(answer("cifar10-sample"), made)[0].command == (
        f"{made} && cfamc-zoo attack -m some --data cifar10-sample --probe {key}.safetensors "
        f"--limit 9 {SAME}"
    )
    assert load_protocol("own").fitting("some", "cifar10", 9, seed=0) == "", "the release has it"


FITTED = [key for key in list_protocols() if load_protocol(key).fits]


@pytest.mark.parametrize("key", FITTED)
def test_the_command_line_takes_the_head_of_every_protocol_that_fits_one(key, capsys):
    """Up to the model, which there is not."""
    assert run(["probe", "-m", "nobody", *load_protocol(key).head.options()]) == 2
    assert "unknown model 'nobody'" in capsys.readouterr().err


PLAIN = 'text = "some"\n[[attacks]]\neps = ["1/255"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN + "stpes = 3", "did you mean"),
        (PLAIN + "settings = { stpes = 3 }", "stpes is not for pgd"),
        (PLAIN + 'attack = "pdg"', "did you mean pgd"),
        (PLAIN + 'norm = "l3"', "norm"),
        (PLAIN.replace("1/255", "8"), "8/255"),
        (PLAIN.replace('["1/255"]', "[]"), "eps is empty"),
        (PLAIN.replace('["1/255"]', '"1/255"'), "eps is '1/255'; it must be a list"),
        (PLAIN + '[head]\nselect = "best"', "unknown selection 'best'"),
        (PLAIN + "[head]\ncrops = 0", "at least 1"),
        (PLAIN + '[head]\nhead = "released"\ncrops = 4', "is there already; leave select"),
        (f'sets = ["train"]\n{PLAIN}', "unknown sets[0] 'train'"),
        (f'key = "x"\n{PLAIN}', "its file's name is its key"),
        ('text = "some"', "protocol lacks attacks"),
        ('text = "some"\nattacks = []', "has no attacks"),
        ("text =", "is not TOML"),
        (f"text = {'9' * 5000}", "is not TOML"),
        (f"text = {'[' * 5000}", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_a_line(text, said, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(PLAIN)
    assert load_protocol(str(file)).key == "mine"
    file.write_text(text)
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        load_protocol(str(file))
    assert said in str(error.value)


def test_an_unknown_protocol_is_refused_before_any_work(tmp_path, capsys):
    assert run(["measure", str(tmp_path), "--protocol", "own,publishd"]) == 2
    assert "unknown protocol 'publishd'; did you mean published?" in capsys.readouterr().err


def test_a_name_is_no_folder_to_write_into(capsys):
    assert run(["measure", "nobody"]) == 2
    assert json.dumps("nobody")[1:-1] in capsys.readouterr().err
