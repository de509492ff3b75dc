"""What every measurement is: made ready, run, shown as a table or as JSON, written to files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.evaluation.crops import crops_notes, crops_settings
from cfamc_zoo.evaluation.doubts import Doubt
from cfamc_zoo.evaluation.ledger import ledger_for
from cfamc_zoo.evaluation.plan import Plan
from cfamc_zoo.evaluation.reports.facts import card_of
from cfamc_zoo.evaluation.run import Advance
from cfamc_zoo.progress import Say
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.images.preprocess import to_input
from cfamc_zoo.zoo.release.folder import Release

Table = tuple[tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]


class Measurement(ABC):
    """One measurement from start to end.

    Made ready when constructed, measured by `run`, written by `write`. Where `run` is stopped by
    an error or by a person, `table` and `to_json` hold what was measured until then.

    Args:
        encoder: what the model is built on; its crops are a setting.
        release: the model's.
        data: the images; without classes they have no labels.
        plan: which attack.
        device: where to work.
        own: settings that this kind of measurement has besides.
        parts: of the ledger, for each radius.

    Attributes:
        model: its name.
        card: where its card is; empty where that is not known.
        images: (N, 3, S, S) float32 in [0, 1], the data's.
        settings: everything that the result depends on.
        notes: what a person should know beforehand.
        doubts: reasons not to believe the result, found by `run`.

    Raises:
        UsageError, DataError, StorageError: the state cannot be used, as `StateFile`.
    """

    title: str  # of the bar
    headline: str  # of the table
    legend: tuple[str, ...] = ()  # what the table's columns mean, where they do not say so

    def __init__(
        self,
        encoder: nn.Module,
        release: Release,
        data: LabelledImages,
        plan: Plan,
        device: torch.device,
        *,
        own: dict[str, Any],
        parts: int = 1,
    ):
        self.data, self.plan, self.device = data, plan, device
        self.model = release.config.name
        self.card = card_of(plan.asked.model, release)
        self.settings: dict[str, Any] = {
            "model": self.model,
            "sha256": release.digest,
            "data": data.name,
            "data_sha256": data.digest,
            "attack": plan.choice.name,
            **plan.choice.settings(),
            "norm": plan.norm,
            "eps": plan.epsilons,
            "seed": plan.seed,
            "crops": crops_settings(encoder),
            **own,
        }
        self.notes = crops_notes(encoder)
        self.doubts: list[Doubt] = []
        self.images = to_input(data.images)
        self.ledger = ledger_for(
            plan.outputs, key=self.settings, images=self.images, radii=parts * len(plan.epsilons)
        )

    @property
    @abstractmethod
    def total(self) -> int:
        """What `run` tells its progress out of."""

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether there is anything to show."""

    @property
    def command(self) -> str:
        """What measures the same again."""
        return self.plan.command(self.model, self.data.name)

    @abstractmethod
    def run(self, advance: Advance, say: Say) -> None:
        """Measures what the state does not know yet.

        Raises:
            DataError, ModelError, StorageError: as `evaluate` and `evaluate_features`.
        """

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Results as JSON."""

    @abstractmethod
    def table(self) -> Table:
        """Headers, rows, and which columns are numbers."""

    @abstractmethod
    def save(self, path: Path, adversarial: np.ndarray) -> None:
        """Writes the adversarial images."""

    @abstractmethod
    def page(self) -> str:
        """The report as HTML."""

    def to_json(self, completeness: str) -> dict[str, Any]:
        """Everything, with versions and device; `completeness` is "complete" or "partial"."""
        return {
            **self.settings,
            "rows": self.data.rows,
            "command": self.command,
            "notes": self.notes,
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "completeness": completeness,
            **environment(self.device),
            "results": self.rows(),
        }

    def write(self) -> None:
        """The files that the plan names.

        Raises:
            StorageError: one cannot be written.
        """
        outputs, adversarial = self.plan.outputs, self.ledger.adversarial
        if outputs.save is not None and adversarial is not None:
            self.save(outputs.save, adversarial)
        if outputs.report is not None:
            page = self.page()
            with atomic_file(outputs.report) as temporary:
                temporary.write_text(page, encoding="utf-8")
