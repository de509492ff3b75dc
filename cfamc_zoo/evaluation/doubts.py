"""Reasons to doubt a robust accuracy: what overstated ones have had in common.

Sources: Carlini et al., On Evaluating Adversarial Robustness (arXiv 1902.06705), the checklist;
Athalye et al., Obfuscated Gradients (arXiv 1802.00420), section 3.1; the flags of the public
AutoAttack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import Accuracy, evaluate
from cfamc_zoo.evaluation.run import PLAIN, Run
from cfamc_zoo.evaluation.victim.batching import gathered
from cfamc_zoo.evaluation.victim.model import Victim, attacked
from cfamc_zoo.zoo.threat import Threat

LOOKED_AT = 32  # images, at most, that the checks run on
NOISE = 1e-4  # of the largest logit: more between two equal calls is randomness
CONTEXT = 1e-2  # of the largest logit: more between an image alone and in its batch is its batch
FEW, MANY = 5, 20  # steps that are compared
SLACK = 2  # images: a smaller difference is chance
PART = 0.002  # of the images, likewise; AutoAttack's own bound


@dataclass(frozen=True)
class Doubt:
    """One reason.

    Attributes:
        name: short, for machines: "zero-gradient".
        text: what was seen and what it may mean.
    """

    name: str
    text: str


@dataclass(frozen=True)
class _Seen:
    """A model in evaluation mode, and what it answers about a few images.

    Attributes:
        model: the model.
        victim: the same, as it is attacked.
        data: a few images, on its device.
        run: draws and batches.
        came_in_training: layers that behave differently in training mode and came in it.
    """

    model: nn.Module
    victim: Victim
    data: Examples
    run: Run
    came_in_training: int

    @cached_property
    def logits(self) -> Tensor:
        """(N, classes)."""
        return self._asked()

    @cached_property
    def again(self) -> Tensor:
        """(N, classes) of a second equal call."""
        return self._asked()

    @property
    def scale(self) -> Tensor:
        """The largest logit."""
        return self.logits.abs().max()

    @property
    def varies(self) -> bool:
        """Whether two equal calls differ."""
        return bool((self.logits - self.again).abs().max() > NOISE * self.scale)

    @cached_property
    def right(self) -> Examples:
        """The first few images that are classified correctly."""
        right = (self.logits.argmax(1) == self.data.labels).nonzero()
        return self.data.take(right[:LOOKED_AT, 0])

    def gathered(self, data: Examples, work: Callable[[Examples], Tensor]) -> Tensor:
        """What `work` returns for all of these, batch by batch."""
        size = self.run.batch_of(data.images)
        return gathered(len(data), size, lambda rows: work(data.take(rows)), self.run.say)

    def _asked(self) -> Tensor:
        return self.gathered(self.data, lambda part: self.victim.logits(part.images))


@dataclass(frozen=True)
class _Trial:
    """Images that a model classifies correctly, to be attacked.

    Attributes:
        model, data: these.
        threat: norm and radius that are evaluated.
        run: draws and batches.
    """

    model: nn.Module
    data: Examples
    threat: Threat
    run: Run

    def survivors(self, attack: Attack | Ensemble, threat: Threat) -> int:
        """How many images withstand."""
        rows = evaluate(self.model, self.data, attack, [threat], self.run)
        return sum(c is True for c in rows[-1].correct)


def doubts_of_model(
    model: nn.Module, data: Examples, threat: Threat, run: Run = PLAIN
) -> list[Doubt]:
    """Looks for reasons in the model, on its first few images that are classified correctly.

    Args:
        model: as given, before anything has put it into evaluation mode.
        data: as `evaluate` takes it, on the model's device.
        threat: norm and radius that are evaluated.
        run: draws and batches; nothing is kept, and nobody is told.

    Raises:
        DataError, ModelError: as `evaluate`.
    """
    few, run = data.take(slice(4 * LOOKED_AT)), run.alone()
    came_in_training = sum(map(_differs_in_training, model.modules()))
    with attacked(model, few.images, few.labels, few.classes) as victim:
        seen = _Seen(model, victim, few, run, came_in_training)
        doubts = [doubt for look in LOOKS for doubt in look(seen)]
        right = seen.right
    # Apart from the looks: each run makes a victim of its own.
    trial = _Trial(model, right, threat, run)
    return doubts + [doubt for check in TRIALS if len(right) for doubt in check(trial)]


def _differs_in_training(module: nn.Module) -> bool:
    kinds = nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd
    return module.training and isinstance(module, kinds)


def _came_in_training(seen: _Seen) -> Iterator[Doubt]:
    if seen.came_in_training:
        yield Doubt(
            "train-mode",
            f"the model came in training mode ({seen.came_in_training} layers behave differently "
            "in it); it was attacked in evaluation mode",
        )


def _stays_in_training(seen: _Seen) -> Iterator[Doubt]:
    stuck = sum(module.training for module in seen.model.modules())
    if stuck:
        yield Doubt(
            "train-mode",
            f"{stuck} layers stay in training mode when the model is put into evaluation mode; "
            "its answers may depend on the batch or on chance",
        )


def _random(seen: _Seen) -> Iterator[Doubt]:
    if seen.varies:
        yield Doubt(
            "random",
            "the model answers the same images differently each time; robust accuracy is "
            "overstated unless the attack averages over its randomness",
        )


def _batch_dependent(seen: _Seen) -> Iterator[Doubt]:
    if seen.varies:
        return  # then nothing can be said of the batch
    alone = seen.victim.logits(seen.data.images[:1])
    if (alone - seen.logits[:1]).abs().max() > CONTEXT * seen.scale:
        yield Doubt(
            "batch-dependent",
            "an image's logits depend on the other images of its batch; attack it in evaluation "
            "mode, with fixed statistics",
        )


def _probabilities(seen: _Seen) -> Iterator[Doubt]:
    if seen.logits.min() >= 0 and ((seen.logits.sum(1) - 1).abs() < 1e-4).all():
        yield Doubt(
            "probabilities",
            "the outputs look like probabilities; attacks need the logits before softmax",
        )


def _zero_gradient(seen: _Seen) -> Iterator[Doubt]:
    def is_flat(part: Examples) -> Tensor:
        """(N,) bool: whether the cross entropy has no gradient at all."""
        point = part.images.requires_grad_()  # `take` has made it a copy
        losses = F.cross_entropy(seen.model(point.clone()).float(), part.labels, reduction="none")
        return gradient_of(losses, point).flatten(1).abs().amax(1) == 0

    if not len(seen.right):
        return
    flat = int(seen.gathered(seen.right, is_flat).sum())
    if flat:
        yield Doubt(
            "zero-gradient",
            f"{flat} of {len(seen.right)} images have a cross entropy without any gradient; "
            "attacks that follow gradients say little, look at Square's row",
        )


def _more_steps(trial: _Trial) -> Iterator[Doubt]:
    few, many = (trial.survivors(Pgd(steps), trial.threat) for steps in (FEW, MANY))
    if many > few + SLACK:
        yield Doubt(
            "more-steps",
            f"{many} of {len(trial.data)} images withstand {MANY} steps of PGD and only {few} "
            f"withstand {FEW}; more steps should never help the model: its gradients mislead",
        )


def _whole_range(trial: _Trial) -> Iterator[Doubt]:
    everything = trial.threat.everything(trial.data.images[0].numel())
    both = Ensemble("PGD", (Pgd(MANY), Pgd(MANY, loss="margin")))
    left = trial.survivors(both, everything)
    if left:
        yield Doubt(
            "whole-range",
            f"{left} of {len(trial.data)} images withstand perturbations of the whole range of "
            "pixels, where any image can become any other; the attack is not finding what there "
            "is",
        )


# What the model's answers show, then runs that should end in a known way.
LOOKS: tuple[Callable[[_Seen], Iterator[Doubt]], ...] = (
    _came_in_training,
    _stays_in_training,
    _random,
    _batch_dependent,
    _probabilities,
    _zero_gradient,
)
TRIALS: tuple[Callable[[_Trial], Iterator[Doubt]], ...] = (_more_steps, _whole_range)


def doubts_of_results(accuracies: list[Accuracy], threats: Sequence[Threat]) -> list[Doubt]:
    """Looks for reasons in what was measured.

    Args:
        accuracies: rows of `evaluate`, of one radius or several.
        threats: these radii.
    """
    robust = [a for a in accuracies if a.attack]
    radii = {threat.text: threat.eps for threat in threats}
    return [*_larger_epsilon(robust, radii), *_black_box(robust)]


def _larger_epsilon(robust: list[Accuracy], radii: Mapping[str, float]) -> Iterator[Doubt]:
    for name in dict.fromkeys(a.attack for a in robust):
        rows = sorted((a for a in robust if a.attack == name), key=lambda a: radii[a.eps])
        for small, large in pairwise(rows):
            if _more(large, small):
                yield Doubt(
                    "larger-epsilon",
                    f"robust accuracy under {name} grows from {small.value:.1f}% at {small.eps} "
                    f"to {large.value:.1f}% at {large.eps}; a larger ball holds the smaller one, "
                    "so the attack fails",
                )


def _black_box(robust: list[Accuracy]) -> Iterator[Doubt]:
    for before, after in pairwise(robust):
        if after.attack == "Square" and before.eps == after.eps and _more(before, after):
            yield Doubt(
                "black-box",
                f"at {after.eps} Square, which sees no gradients, brings robust accuracy from "
                f"{before.value:.1f}% to {after.value:.1f}%; the gradients are masked, a "
                "stronger attack made for this model may find more",
            )


def _more(a: Accuracy, b: Accuracy) -> bool:
    """Whether more images withstand in `a` than in `b`, by more than chance."""
    difference = sum(c is True for c in a.correct) - sum(c is True for c in b.correct)
    return difference >= SLACK and difference > PART * a.n
