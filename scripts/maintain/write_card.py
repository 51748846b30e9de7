"""Write the figures of the shipped network into its model card.

The card is `model-card.md` in the folder of the network; docs/model-card.md shows it. The text
between two comments is written anew: `files` from the files of the network, `scores` from
`evaluation.json` beside it, and `data` from the `labels.json` of make_labels, if it is given.

`evaluation.json` is what make_model writes; its sentences about what goes wrong, `failures`, are
added by hand. Lung Dice is that of all voxels of a patient together.

Example:
    python -m scripts.maintain.write_card --labels labels/labels.json
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.schema import Config
from lungseg.evaluation.summary import bootstrap_interval
from lungseg.inference.origins import sha256_of_models
from lungseg.system.files import sha256_of_file, write_text
from lungseg.system.shipped import CARD, FOLDER
from lungseg.system.tables import read_csv, read_json
from lungseg.system.wording import counted
from scripts.maintain.judge_sizes import describe_sizes

KINDS = {"volume": "volumes", "slices": "single slices"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the parts whose sources are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--labels", type=Path, help="labels.json of make_labels")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the network")
    given = parser.parse_args(arguments)
    parts = {"files": describe_files(given.folder)}
    if (given.folder / "evaluation.json").exists():
        parts["scores"] = describe_scores(read_json(given.folder / "evaluation.json"))
    if given.labels is not None:
        parts["data"] = describe_data(read_json(given.labels))
    path = given.folder / "model-card.md"
    text = (path if path.exists() else CARD).read_text(encoding="utf-8")
    for name, lines in parts.items():
        text = put(text, name, lines)
    write_text(path, text)


def put(card: str, name: str, lines: Sequence[str]) -> str:
    """Return the card with new lines between the comments of a part."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    head, rest = card.split(begin)
    _, tail = rest.split(end)
    return head + begin + "\n".join(["", *lines, "", end]) + tail


def describe_files(folder: Path) -> list[str]:
    """Return what the network is, and the hashes of its files."""
    known, record = read_json(folder / "model.json"), read_json(folder / "run.json")
    trained = [row for row in read_csv(folder / "data.csv") if row["part"] == "train"]
    size, window = known["input"]["size"], known["input"]["window"]
    lines = [
        f"- Network: `{known['network']}`, {known['parameters']:,} parameters, for axial slices of "
        f"{size[0]} x {size[1]} pixels, {window[0]:g} to {window[1]:g} HU.",
        f"- Training: {record['epochs']} epochs on {len(trained)} slices of "
        f"{len({row['group'] for row in trained})} patients, begun on {record['started'][:10]}, "
        f"with lungseg {record['lungseg']}.",
        "",
        "| file | MB | SHA-256 |",
        "|---|---|---|",
    ]
    for name in ("model.onnx", "model.keras"):
        path = folder / name
        megabytes = path.stat().st_size / 1e6
        lines.append(f"| `{name}` | {megabytes:.1f} | `{sha256_of_file(path)}` |")
    both = sha256_of_models([folder / "model.onnx"])
    return [*lines, "", f"`model_sha256` in `cases.csv`: `{both}`"]


def describe_scores(found: Mapping[str, Any]) -> list[str]:
    """Return the scores as lines of Markdown."""
    validation, held_out = found["cross_validation"], found["held_out"]
    machine = found["hardware"]
    lines = [
        f"Lung Dice, measured on {found['date']} on {machine['cores']} cores of "
        f"{machine['processor']}. `make model` trains and measures everything anew.",
        "",
    ]
    if validation["measured"]:
        lines += _cross_validation(validation)
    else:
        lines.append("A cross-validation over patients has not been done yet.")
    for name, scored in held_out.items():
        lines += ["", *_held_out(name, scored)]
    if failures := found.get("failures"):
        lines += ["", "What went wrong in these:", "", *(f"- {each}" for each in failures)]
    return lines


def _cross_validation(validation: Mapping[str, Any]) -> list[str]:
    """Return the scores of patients that were held back."""
    lines = [
        f"**Patients it was not trained on.** Cross-validation with {validation['folds']} folds: "
        "each patient is scored by a network that was trained on the patients of the other folds. "
        "The shipped network was trained on all of them. The last column is what is marked in "
        "slices without lung, in mL per slice.",
        "",
    ]
    if validation["measured"] < validation["folds"]:
        lines += [
            f"Only {validation['measured']} of the {validation['folds']} folds are measured, with "
            f"{len(validation['patients'])} patients.",
            "",
        ]
    lines += [
        "| source | kind | patients | Dice, median | mean | 95% interval | lowest | no lung, mL |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, name in KINDS.items():
        patients = [p for p in validation["patients"] if p["kind"] == kind]
        for source in sorted({p["collection"] for p in patients if "collection" in p}):
            some = [p for p in patients if p.get("collection") == source]
            lines.append(_row(source, name, some))
        if patients:
            lines.append(_row("**all**", name, patients))
    healthy = [
        p["dice"]
        for p in validation["patients"]
        if p["kind"] == "volume" and not p["lung_added"] and p["dice"] is not None
    ]
    if healthy:
        lines += [
            "",
            f"{counted(len(healthy), None)} with volumes had no lung added to the label by "
            "hand, so no tumour, collapse or consolidation is known to lie at the edge of their "
            f"lungs: lowest Dice {min(healthy):.4f}.",
        ]
    if sizes := validation.get("sizes"):
        lines += [
            "",
            "The same volumes shown smaller, as in a wide field of view, or larger, as in a CT of "
            "the heart whose border cuts the lungs. These are the network's own masks, without "
            "clean-up.",
            "",
            *describe_sizes(sizes),
        ]
    return lines


def _held_out(name: str, scored: Mapping[str, Any]) -> list[str]:
    """Return the score of a patient, or of single slices, that no training has seen."""
    if "slices" not in scored or not isinstance(scored["slices"], Mapping):
        return [f"**{name}**, which was never trained on: Dice {scored['dice']:.4f}."]
    slices = [{"dice": dice} for dice in scored["slices"].values()]
    return [
        f"**{name}**, {len(slices)} slices that were never trained on: Dice, mean "
        f"{_mean(slices):.4f}, 95% interval {_interval(slices)} (as if each were of another "
        f"patient), lowest {min(each['dice'] for each in slices):.4f}."
    ]


def describe_data(labels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a row for each collection, with its terms and citation."""
    lines = ["| data | terms | patients | CTs | slices |", "|---|---|---|---|---|"]
    sources = dict.fromkeys((about["citation"], _terms(about)) for about in labels.values())
    for citation, terms in sorted(sources):
        cases = [c for c in labels.values() if (c["citation"], _terms(c)) == (citation, terms)]
        patients, slices = len({c["patient"] for c in cases}), sum(c["slices"] for c in cases)
        cited = "; ".join(part.strip() for part in citation.split("|"))
        lines.append(f"| {cited} | {terms} | {patients} | {len(cases)} | {slices} |")
    return lines


def _terms(about: Mapping[str, Any]) -> str:
    """Return the name of the terms without their address, which the card has once."""
    return re.sub(r"\s+https?://\S+", "", about["terms"])


def _row(source: str, kind: str, patients: Sequence[Mapping[str, Any]]) -> str:
    """Return a row; a patient for whom neither label nor mask has lung has no Dice."""
    scored = [p for p in patients if p["dice"] is not None]
    false = [p["false_ml"] for p in patients if p["false_ml"] is not None]
    dice = (
        f"{np.median([p['dice'] for p in scored]):.4f} | {_mean(scored):.4f} | "
        f"{_interval(scored)} | {min(p['dice'] for p in scored):.4f}"
        if scored
        else "- | - | - | -"
    )
    marked = f"{np.mean(false):.2f}" if false else "-"
    return f"| {source} | {kind} | {len(patients)} | {dice} | {marked} |"


def _mean(scored: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([each["dice"] for each in scored]))


def _interval(scored: Sequence[Mapping[str, Any]]) -> str:
    """Return the interval of the mean; a dash if there are too few patients."""
    config, patients = Config(), [[each["dice"]] for each in scored]
    interval = bootstrap_interval(patients, config.evaluate.bootstrap, config.seed)
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


if __name__ == "__main__":
    main()
