"""What `--json` prints is what cfamc_zoo/cli/schemas says, field by field, both ways."""

import copy
import json
import shlex
import shutil
from dataclasses import replace
from importlib import resources

import pytest
import typer.main
from huggingface_hub import constants
from jsonschema import Draft202012Validator, validators
from PIL import Image
from referencing import Registry, Resource

from cfamc_zoo.cli.app import COMMANDS, app
from cfamc_zoo.evaluation import classifier_measurement
from cfamc_zoo.evaluation.attacks.choice import ATTACKS
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.doubts import Doubt
from cfamc_zoo.evaluation.heads import published
from cfamc_zoo.training import estimate
from cfamc_zoo.verification.finding import Verdict
from cfamc_zoo.verification.verify import CHECKS
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.network.families.timm import TimmArchitecture
from cfamc_zoo.zoo.network.spec import FEATURES, Preprocess
from cfamc_zoo.zoo.release.folder import CARD, CONFIG, MODEL, open_release, write_files
from tests import inside
from tests.cli.test_train import TINY
from tests.hub import Hub
from tests.hub.here import client_of
from tests.verification.conftest import PROTOCOL, change_rows, without_head
from tests.zoo.test_listing import TAGGED

FOLDER = resources.files("cfamc_zoo.cli") / "schemas"
SHARED = "shared.json"
FILES = {file.name: json.loads(file.read_text("utf-8")) for file in FOLDER.iterdir()}
KNOWN = Registry().with_resource(SHARED, Resource.from_contents(FILES[SHARED]))
TRAIN = shlex.join(["train", *TINY])
ATTACK = "attack -m tiny --limit 3 --eps 1/255"
# Attacks without settings, at a radius where all falls to their first.
FIXED = ("autoattack", "apgd-only")
AT_ONCE = "attack -m tiny --limit 3 --eps 64/255"

# What is typed, but for --json; in this order, since some go on from what others left.
LINES = {
    "measure": "measure tiny --protocol short.toml --data cifar10-sample --limit 12",
    "verify": "verify tiny --limit 4",
    "verify-counted": "verify counted --limit 4",
    "info": "info tiny",
    "info-timm": "info of-timm",
    "info-known": "info zoo/known",
    "list": "list",
    "list-remote": "list --remote zoo",
    "pull": "pull tiny --dest pulled",
    "embed": "embed images -m tiny -o v.parquet --on-error skip",
    "embed-nothing": "embed images/broken.png -m tiny -o none.parquet",
    "search": "search row:3 images/05.png --in v.parquet -m tiny -k 3",
    "search-index": "search row:3 --in v.parquet -k 3 --index index",
    "search-attacked": "search row:3 --in v.parquet -m tiny -k 3 --attacked",
    "search-duplicates": "search --duplicates --in v.parquet",
    "train": f"{TRAIN} -o run --set max_steps=1",
    "probe": "probe -m tiny --data cifar10-sample --limit 60 --select robust -o h.safetensors",
    "probe-published": "probe -m run --data cifar10-sample --head published --crops 2",
    **{f"attack-{name}": f"{ATTACK} --attack {name} --steps 1" for name in ATTACKS},
    **{f"attack-{name}": f"{AT_ONCE} --attack {name}" for name in FIXED},
    "attack-knn": f"{ATTACK} -m run --steps 1 --head knn --crops 2",
    "attack-stopped": f"{ATTACK} --steps 1 --limit 60 --batch-size 2",
    "edits": "edits -m tiny --limit 4 --kinds blur",
    "edits-adversary": "edits -m tiny --limit 4 --kinds blur --eps 1/255 --steps 1",
    "train-list": "train --list",
    "train-show": "train cf-amc-ssl-thin --show",
    "train-estimate": f"{TRAIN} --estimate",
    "export": "export tiny -o exported",
    "export-file": "export tiny --single-file features.onnx",
    "export-classifier": "export tiny --single-file classifier.onnx --classifier",
    "push-planned": "push tiny zoo/new --dry-run",
    "push": "push tiny zoo/new",
    "doctor": "doctor",
}
CODES = {"embed-nothing": 1, "attack-stopped": 130}


def furnish(folder, tiny_release, sample):
    """What the lines speak of."""
    without_head(tiny_release, folder / "tiny")
    (folder / "short.toml").write_text(PROTOCOL)
    (folder / "images").mkdir()
    for i, pixels in enumerate([*sample.images[:10], sample.images[0]]):
        Image.fromarray(pixels).save(folder / f"images/{i:02}.png")
    (folder / "images/broken.png").write_bytes(b"no image")
    (folder / "images/notes.txt").touch()


def as_it_is(folder, patch):
    pass


def counted(folder, patch):
    """A release whose rows have no verdicts, as older ones have none."""
    shutil.copytree(folder / "tiny", folder / "counted")
    change_rows(folder / "counted", lambda row: replace(row, correct=""))


def of_timm(folder, patch):
    """As much as `info` reads of a release that `export timm:NAME` has made."""
    config = open_release(folder / "tiny").config
    timm = TimmArchitecture("test_vit", 64, {"img_size": 32}, 32)
    (folder / "of-timm").mkdir()
    config = replace(config, architecture=timm, preprocess=Preprocess(crop=0.95), files={})
    write_files(folder / "of-timm", config, {MODEL: b"not read"})


def unreachable(folder, patch):
    """A model that the package knows, whose files cannot be had."""
    spec = replace(registry.find_model(registry.default_model()), name="known", repo="zoo/known")
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setattr(registry, "known_models", lambda: {"known": spec})


def stopped(folder, patch):
    """An attack that a person stops at its second batch."""
    batches = iter([1])

    def run(self, victim, batch, threat):
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return batch.images

    patch.setattr(Pgd, "run", run)


def doubted(folder, patch):
    found = [Doubt("black-box", "the gradients are masked")]
    patch.setattr(classifier_measurement, "doubts_of_results", lambda *_: found)


def short_schedule(folder, patch):
    patch.setattr(published, "EPOCHS", ("clean",))


def one_batch(folder, patch):
    patch.setattr(estimate, "TRIED_SECONDS", 0.0)


BEFORE = {
    "verify-counted": counted,
    "info-timm": of_timm,
    "info-known": unreachable,
    "attack-pgd": doubted,
    "attack-stopped": stopped,
    "probe-published": short_schedule,
    "train-estimate": one_batch,
}


@pytest.fixture(scope="module")
def answers(made_once, tiny_release, tiny_files, sample):
    """What each line prints."""

    def make(folder):
        furnish(folder, tiny_release, sample)
        hub = Hub()
        hub.add("zoo/tiny", tiny_files)
        hub.add("zoo/other", {CONFIG: b"{}", MODEL: b"x", CARD: TAGGED})
        with client_of(hub, folder / "cache"):
            for name, line in LINES.items():
                words = [*shlex.split(line), "--json"]
                with pytest.MonkeyPatch.context() as patch:
                    BEFORE.get(name, as_it_is)(folder, patch)
                    done = inside.cfamc_zoo(*words, code=CODES.get(name, 0), cwd=folder)
                (folder / f"{name}.json").write_text(done.stdout)

    folder = made_once("answers", make)
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in LINES}


def file_of(name):
    """Of the schema that an answer follows."""
    return f"{LINES[name].split()[0]}.json"


def validator(file, kind=Draft202012Validator):
    return kind(FILES[file], registry=KNOWN)


def has_json(name):
    group = typer.main.get_command(app)
    command = group.get_command(group.make_context("", [], resilient_parsing=True), name)
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_that_has_json_has_a_schema_and_no_other():
    assert set(FILES) - {SHARED} == {f"{name}.json" for name in COMMANDS if has_json(name)}
    assert {file_of(name) for name in LINES} == set(FILES) - {SHARED}, "and is run here"


@pytest.mark.parametrize("file", FILES)
def test_a_schema_is_one(file):
    Draft202012Validator.check_schema(FILES[file])


@pytest.mark.parametrize("name", LINES)
def test_what_a_command_prints_follows_its_schema(answers, name):
    found = validator(file_of(name)).iter_errors(answers[name])
    assert [f"{error.json_path}: {error.message}" for error in found] == []


# Objects of names, not of fields.
NAMES = ("arguments", "files", "left_out", "provenance", "recipe", "sha256", "versions")
NAMES += ("held_out_accuracy", "held_out_robust_accuracy")


def fields_of(value, path=()):
    """Paths of all fields of an answer, of lists in the first item alone."""
    if isinstance(value, list):
        yield from fields_of(value[0], (*path, 0)) if value else ()
    elif isinstance(value, dict) and (not path or path[-1] not in NAMES):
        for name, inner in value.items():
            yield (*path, name)
            yield from fields_of(inner, (*path, name))


def renamed(answer, path):
    """A copy in which one field is called otherwise."""
    answer = copy.deepcopy(answer)
    place = answer
    for step in path[:-1]:
        place = place[step]
    place["another_name"] = place.pop(path[-1])
    return answer


@pytest.mark.parametrize("name", LINES)
def test_a_field_of_another_name_is_noticed_at_any_depth(answers, name):
    check, paths = validator(file_of(name)), list(fields_of(answers[name]))
    assert paths
    assert [path for path in paths if check.is_valid(renamed(answers[name], path))] == []


def fields_in(schema):
    """Every field that a schema describes: of which object, its name."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if isinstance(schema, dict):
        if not isinstance(schema.get("properties", []), list):
            for name, field in schema["properties"].items():
                if field is not False:  # which forbids it
                    yield id(schema["properties"]), name
        for key, inner in schema.items():
            if key not in ("if", "not"):
                yield from fields_in(inner)


def test_every_field_that_a_schema_describes_is_printed(answers):
    met = set()

    def properties(validator, fields, answer, schema):
        if isinstance(answer, dict):
            met.update((id(fields), name) for name in fields if name in answer)
        yield from Draft202012Validator.VALIDATORS["properties"](validator, fields, answer, schema)

    kind = validators.extend(Draft202012Validator, {"properties": properties})
    for name in LINES:
        list(validator(file_of(name), kind).iter_errors(answers[name]))
    described = [(file, field) for file in FILES for field in fields_in(FILES[file])]
    assert [(file, field[1]) for file, field in described if field not in met] == []


def test_the_words_that_a_field_may_be_are_those_of_the_program():
    attack = FILES["attack.json"]["$defs"]["attacked"]["properties"]["attack"]
    assert set(attack["enum"]) == set(ATTACKS)
    finding = FILES["verify.json"]["properties"]["findings"]["items"]["properties"]
    assert set(finding["check"]["enum"]) == set(CHECKS)
    assert set(finding["verdict"]["enum"]) == set(Verdict)
    assert set(FILES[SHARED]["$defs"]["feature"]["enum"]) == set(FEATURES)


def test_where_a_command_fails_nothing_is_printed(tiny_release):
    done = inside.cfamc_zoo("attack", "-m", tiny_release, "--eps", "2", "--json", code=2)
    assert done.stdout == "" and done.stderr.startswith("error: ")
