"""Write the figures of the shipped network into its model card.

The card is `model-card.md` in the folder of the network; docs/model-card.md shows it. The text
between two comments is written anew: `files` from the files of the network, `scores` from
`evaluation.json` beside it, and `data` from the `labels.json` of make_labels, if it is given.

`evaluation.json` holds:

    date, hardware       texts
    commands             the commands of the cross-validation, in order
    cross_validation     "folds": their number; "patients": for each patient
                         {patient, collection, kind: "volume" or "slices", dice}, and hd95_mm if
                         it is known
    held_out             for each CT {name, dice, command}, and hd95_mm if it is known
    slices               {name, command, slices}: the last is {case, dice} for each slice, and
                         patient if it is known
    negatives            for each CT without lung {name, lung_ml, command}
    failures             sentences about what goes wrong

All but the first four may be absent. Scores are those of lung, after the tidying of `infer` for
volumes.

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
from lungseg.evaluation.summary import bootstrap_interval, per_patient
from lungseg.inference.origins import sha256_of_models
from lungseg.system.files import sha256_of_file, write_text
from lungseg.system.shipped import FOLDER
from lungseg.system.tables import read_csv, read_json

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
    text = path.read_text(encoding="utf-8")
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
    validation = found["cross_validation"]
    lines = [
        f"Lung Dice, measured on {found['date']}, {found['hardware']}.",
        "",
        f"**Patients it was not trained on.** Cross-validation with {validation['folds']} folds: "
        "each patient is scored by a network that was trained on the patients of the other folds. "
        "The shipped network was trained on all of them.",
        "",
        "| source | kind | patients | Dice, mean | 95% interval | lowest | HD95, mm, mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, name in KINDS.items():
        patients = [p for p in validation["patients"] if p["kind"] == kind]
        for source in dict.fromkeys(p["collection"] for p in patients):
            lines.append(_row(source, name, [p for p in patients if p["collection"] == source]))
        if patients:
            lines.append(_row("**all**", name, patients))
    lines += ["", "```sh", *found["commands"], "```"]
    if held_out := found.get("held_out"):
        lines += ["", "**CTs of other collections,** which no choice was made by.", ""]
        lines += ["| CT | Dice | HD95, mm | command |", "|---|---|---|---|"]
        lines += [
            f"| {ct['name']} | {ct['dice']:.4f} | {_or_dash(ct.get('hd95_mm'))} "
            f"| `{ct['command']}` |"
            for ct in held_out
        ]
    if slices := found.get("slices"):
        scored = [{"patient": s["case"], **s} for s in slices["slices"]]
        lines += [
            "",
            f"**{slices['name']}**: {len(scored)} slices, mean {_mean(scored):.4f}, 95% interval "
            f"{_interval(scored)}, lowest {min(s['dice'] for s in scored):.4f}. "
            f"`{slices['command']}`",
        ]
    if negatives := found.get("negatives"):
        lines += ["", "**CTs without lung.**", "", "| CT | lung found, mL | command |"]
        lines += ["|---|---|---|"]
        lines += [f"| {n['name']} | {n['lung_ml']:.1f} | `{n['command']}` |" for n in negatives]
    if failures := found.get("failures"):
        lines += ["", "What went wrong in these:", "", *(f"- {each}" for each in failures)]
    return lines


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
    distances = [p["hd95_mm"] for p in patients if p.get("hd95_mm") is not None]
    distance = float(np.mean(distances)) if len(distances) == len(patients) else None
    return (
        f"| {source} | {kind} | {len(patients)} | {_mean(patients):.4f} | {_interval(patients)} "
        f"| {min(p['dice'] for p in patients):.4f} | {_or_dash(distance)} |"
    )


def _mean(scored: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([each["dice"] for each in scored]))


def _interval(scored: Sequence[Mapping[str, Any]]) -> str:
    """Return the interval of the mean by patient; a dash if there are too few patients."""
    dice = {str(number): each["dice"] for number, each in enumerate(scored)}
    groups = {str(number): each["patient"] for number, each in enumerate(scored)}
    patients, config = list(per_patient(dice, groups).values()), Config()
    interval = bootstrap_interval(patients, config.evaluate.bootstrap, config.seed)
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _or_dash(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


if __name__ == "__main__":
    main()
