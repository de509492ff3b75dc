"""`cfamc-zoo attack --attack feature`: label-free attacks on an encoder."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from cfamc_zoo.cli import output
from cfamc_zoo.zoo.threat import parse_epsilon

if TYPE_CHECKING:
    from cfamc_zoo.datasets import LabelledImages
    from cfamc_zoo.zoo.weights import Release


def attack_feature(
    release: Release,
    dataset: LabelledImages,
    *,
    features: str,
    distance: str,
    norm: str,
    epsilons: list[str],
    steps: int,
    step_size: str | None,
    seed: int,
    device: str | None,
    batch_size: int | None,
    json: bool,
) -> None:
    """Pushes every image's vector away, pulls it onto another's, and reports the measures."""
    import torch

    from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
    from cfamc_zoo.evaluation.features import FeatureReader, evaluate_features
    from cfamc_zoo.zoo.device import environment, find_device
    from cfamc_zoo.zoo.weights import load_encoder

    where = find_device(device)
    size = parse_epsilon(step_size) if step_size else None
    attack = FeatureAttack(distance, steps, size)  # type: ignore[arg-type]
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).contiguous().float() / 255
    reader = FeatureReader(load_encoder(release), features).to(where)
    with output.progress(f"{features} of {dataset.name}", 2 * len(images) * len(epsilons)) as bar:
        results = evaluate_features(
            reader,
            images.to(where),
            attack=attack,
            epsilons=epsilons,
            norm=norm,
            seed=seed,
            batch_size=batch_size or (512 if where.type == "cuda" else 64),
            advance=bar.advance,
            say=lambda text: output.note(f"note: {text}"),
        )
    if json:
        rows = []
        for r in results:
            value, low, high = r.retrieval
            rows.append(
                {
                    "eps": r.eps,
                    "n": len(r.retrieved),
                    "push_median_universal_quantile": median(r.push_quantiles),
                    "pull_median_universal_quantile": median(r.pull_quantiles),
                    "breakaway_risk": r.breakaway_risk,
                    "overlap_risk": r.overlap_risk,
                    "retrieval_top1": value,
                    "low": low,
                    "high": high,
                    "seconds": round(r.seconds, 3),
                }
            )
        output.json_result(
            {
                "model": release.config.name,
                "sha256": release.digest,
                "data": dataset.name,
                "attack": "feature",
                "feature": features,
                "distance": distance,
                "norm": norm,
                "steps": steps,
                "step_size": step_size,
                "seed": seed,
                **environment(where),
                "results": rows,
            }
        )
        return
    output.note(f"{features} of {release.config.name} on {dataset.name}, {norm}, {distance}")
    output.table(
        ("eps", "pushed", "pulled", "breakaway %", "overlap %", "top-1 %", "95%", "images"),
        [
            (
                r.eps,
                f"{median(r.push_quantiles):.3f}",
                f"{median(r.pull_quantiles):.3f}",
                f"{100 * r.breakaway_risk:.3f}",
                f"{100 * r.overlap_risk:.2f}",
                f"{r.retrieval[0]:.2f}",
                f"{r.retrieval[1]:.2f}..{r.retrieval[2]:.2f}",
                str(len(r.retrieved)),
            )
            for r in results
        ],
        right=(1, 2, 3, 4, 5, 7),
    )
