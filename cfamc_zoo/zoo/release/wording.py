"""What a model is and how it came about, in words that follow from its data; else nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cfamc_zoo.errors import ReleaseError

# Objectives that need no labels, by their kind in a recipe: of releases whose provenance does not
# name the method.
WITHOUT_LABELS = {"emp": "EMP-SSL", "nt-xent": "SimCLR"}
NOT_RECORDED = "not recorded"
# Where the weights of a network came from that was trained elsewhere, by their kind.
WEIGHTS = {
    "random": "of random weights (seed {seed}): it was never trained",
    "file": f"with the weights of `{{name}}`; how these were trained is {NOT_RECORDED}",
    "repository": "with the weights of `{name}` on the Hub (revision {revision}); how these were "
    f"trained is {NOT_RECORDED} here",
}


@contextmanager
def readable(name: str) -> Iterator[None]:
    """What a stranger's config.json says of a model's making may be of any type.

    Raises:
        ReleaseError: it is of another than is read inside.
    """
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ReleaseError(
            f"nothing can be said of {name!r}: {error!r} in its config.json; export the release "
            "again"
        ) from error


def threat(threat_model: Mapping[str, Any], recipe: object) -> str:
    """What a model was trained to withstand, in a word or two.

    Args:
        threat_model: norm and eps, or {} for none.
        recipe: that it was trained by; without one, that there was no attack is not known.
    """
    if threat_model:
        return f"{threat_model['norm']} {threat_model['eps']}"
    return "nothing" if recipe else NOT_RECORDED


def method_of(recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """By which method without labels it was trained; "" where that is not known."""
    kind = (recipe.get("objective") or {}).get("kind", "")
    return provenance.get("method") or WITHOUT_LABELS.get(kind, "")


def data_of(recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> str | None:
    """Name of the images that it was trained on: what the run recorded, else its recipe."""
    return provenance.get("data") or recipe.get("data")


def origin(
    recipe: Mapping[str, Any], provenance: Mapping[str, Any], threat_model: Mapping[str, Any]
) -> str:
    """How a network got its weights: the second half of a sentence that begins with it."""
    if recipe:
        method = method_of(recipe, provenance)
        words = ["pretrained", f"without labels ({method})" if method else ""]
        if threat_model:
            words.append(f"against {threat_model['norm']} perturbations of {threat_model['eps']}")
        elif (recipe.get("adversary") or {}).get("kind") == "none":
            words.append("without an attack")
        if name := recipe.get("name"):
            words.append(f"by recipe `{name}`")
        if data := data_of(recipe, provenance):
            words.append(f"on {data}")
        return " ".join(filter(None, words))
    if weights := provenance.get("weights"):
        return WEIGHTS[weights["kind"]].format(**weights)
    if imported := provenance.get("imported"):
        return (
            f"imported from a checkpoint of layout {imported['layout']}; how that was trained is "
            f"{NOT_RECORDED}"
        )
    return f"how it was made is {NOT_RECORDED}"


def training(recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[str]:
    """What a training run did, as sentences; of what is not recorded there is none."""
    done = [length(recipe, provenance)]
    if count := (recipe.get("views") or {}).get("count"):
        done.append(f"{count} views of each image")
    if adversary := recipe.get("adversary"):
        settings = [f"{k} {v}" for k, v in adversary.items() if k != "kind"]
        said = f" ({', '.join(settings)})" if settings else ""
        done.append(f"adversary `{adversary.get('kind')}`{said}")
    if "seed" in recipe:
        done.append(f"seed {recipe['seed']}")
    sentences = [", ".join(filter(None, done))]
    if seconds := provenance.get("seconds"):
        device = f" on {provenance['device']}" if "device" in provenance else ""
        torch = f" (torch {provenance['torch']})" if "torch" in provenance else ""
        sentences.append(f"{duration(seconds)} of training{device}{torch}")
    if average := averaging(recipe.get("averaging")):
        sentences.append(average)
    if teacher := provenance.get("teacher"):
        sentences.append(f"taught by `{teacher['name']}`, sha256 {teacher['sha256'][:12]}")
    if before := provenance.get("from"):
        sentences.append(started_from(before))
    if changed := provenance.get("changed_since"):
        sentences.append(
            f"The weights were changed since they were read from `{changed['name']}` "
            f"(sha256 {changed['sha256'][:12]}), by what is {NOT_RECORDED} here"
        )
    return [f"{s[0].upper()}{s[1:]}." for s in sentences if s]


def length(recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """How long it went on: in epochs only where the whole schedule was run."""
    steps, most = provenance.get("steps"), recipe.get("max_steps")
    size = f" of {recipe['batch_size']} images" if "batch_size" in recipe else ""
    epochs = counted(recipe["epochs"], "epoch") if "epochs" in recipe else ""
    if steps is None:
        return f"batches{size}" if size else ""
    batches = f"{counted(steps, 'batch', 'batches')}{size}"
    if most == 0 or (most and steps < most):
        return f"{epochs}, {batches}" if epochs else batches
    return f"{batches}, after which the run was ended" if most else batches


def averaging(decay: Any) -> str:
    """That the released weights are an average; "" where they are not."""
    if isinstance(decay, bool) or not isinstance(decay, int | float) or decay <= 0:
        return ""
    return (
        f"the released weights are an average: the exponential one over batches, with a decay of "
        f"{decay:g}, with BatchNorm's statistics measured anew for it"
    )


def started_from(before: Mapping[str, Any]) -> str:
    """Which weights training began with, and what was behind them."""
    anew = ", ".join(f"`{part}`" for part in before.get("started_anew") or [])
    behind = f", after {counted(before['steps'], 'batch', 'batches')}" if "steps" in before else ""
    behind += f" and {duration(before['seconds'])} of training" if "seconds" in before else ""
    return (
        f"training began with the weights of `{before['name']}` (sha256 {before['sha256'][:12]})"
        f"{behind}" + (f"; started anew: {anew}" if anew else "")
    )


def duration(seconds: float) -> str:
    """ "42 seconds", "146 minutes"."""
    if seconds < 120:
        return counted(round(seconds), "second")
    return counted(round(seconds / 60), "minute")


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """ "1 epoch", "2 epochs"."""
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"
