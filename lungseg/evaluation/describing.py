"""What was scored, for `evaluation.json`: run, slices, and what speaks against the scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungseg.config.loading import dump_config
from lungseg.config.schema import Config
from lungseg.dataset.appearance import Appearance
from lungseg.dataset.patients import what_is_a_group
from lungseg.evaluation.calibration import relate_uncertainty
from lungseg.evaluation.results import Scored
from lungseg.evaluation.runs import RunScores, ScoredPart, audit_parts
from lungseg.system import console
from lungseg.system.files import sha256_of_file
from lungseg.system.tables import read_csv, read_json


def describe(
    config: Config,
    run: Path,
    dataset: Path,
    parts: Sequence[ScoredPart],
    scores: RunScores,
) -> Scored:
    """Gather the run, its data and its training for `evaluation.json`, beside the scores."""
    first = parts[0]
    head = {
        "run": run.name,
        "model_sha256": [part.predictor.sha256 for part in parts],
        "data": dataset.name,
        "part": first.source.part,
        "caveats": find_caveats(parts, scores.sizes),
        "network_sha256": (
            sha256_of_file(first.predictor.path) if len(first.predictor) == 1 else None
        ),
        "unknown_patients": sum(not s.named for part in parts for s in part.slices),
        "group_is": what_is_a_group([s for part in parts for s in part.slices]),
        "seen_in_training": sorted(case for part in parts for case in part.seen),
    }
    if len(parts) > 1:
        head["cross_validation"] = f"{len(parts)} folds, each scored by a network not trained on it"
    elif len(first.predictor) > 1:
        head["ensemble"] = f"mean probability of {len(first.predictor)} networks"
    if first.source.patients_from is not None:
        head["patients_from"] = first.source.patients_from
    extras: dict[str, Any] = {
        "calibration": scores.calibration.result(),
        "audit": audit_parts(parts, config.split),
    }
    classes = list(first.predictor.data.rgb_map)
    # A network with a class of one side only is not shown mirrored slices.
    if rows := [r for r in scores.rows if r.entropy is not None and r.class_name == classes[1]]:
        extras["uncertainty"] = relate_uncertainty(rows)
    if (run / "run.json").exists():
        extras["trained"] = read_json(run / "run.json")
    history = run / "history.csv"
    run_config = first.predictor.path.with_name("config.yaml")
    text = run_config.read_text(encoding="utf-8") if run_config.exists() else dump_config(config)
    by_case = {each.case: part for part in parts for each in part.slices}
    return Scored(
        head=head,
        rows=scores.rows,
        classes=classes,
        draw=lambda case: by_case[case].draw(case),
        extras=extras,
        history=read_csv(history) if history.exists() else [],
        config=text,
    )


def find_caveats(parts: Sequence[ScoredPart], sizes: Counter[tuple[int, int]]) -> list[str]:
    """Return a sentence for each way in which the slices are not as the network expects them."""
    data = parts[0].predictor.data
    height, width = data.image_size
    caveats = []
    if other := {size: count for size, count in sizes.items() if size != data.image_size}:
        named = ", ".join(f"{count} of {h} x {w}" for (h, w), count in sorted(other.items()))
        caveats.append(
            f"{sum(other.values())} of {sizes.total()} slices were resized to the network's "
            f"{height} x {width} ({named}); distances are in pixels of that size"
        )
    for part in parts:
        if part.source.appearance is not None:
            caveats += part.source.appearance.differences(Appearance.of(data))
    caveats = list(dict.fromkeys(caveats))
    for caveat in caveats:
        console.warn(caveat)
    return caveats
