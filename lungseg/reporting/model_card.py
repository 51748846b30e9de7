"""`MODEL_CARD.md` of a run: what the network is, from what, for what, and how good.

Everything in it is from the files of the run. What they do not say is said to be unknown. The form
follows Mitchell et al., Model Cards for Model Reporting (2019).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungseg.config.loading import load_config
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.reporting.glossary import term
from lungseg.system import console
from lungseg.system.files import sha256_of_file, write_text
from lungseg.system.in_place import Output
from lungseg.system.tables import read_csv, read_json
from lungseg.system.wording import counted

MODEL_CARD = "MODEL_CARD.md"
NEEDED = ("config.yaml", "run.json", "data.csv", "model.json", "model.onnx")
# The scores of a card, if they are there.
SCORES = ("dice", "hd95", "nsd_2", "boundary_iou")
MOST_CLASSES = 20


def write_model_card(run: Path, output: Output) -> None:
    """Write the card of a run that was trained, with the scores of its test part if it has them.

    A card that a person has written or changed is left as it is. A network that was copied without
    the files that a card is made of gets none.

    Args:
        run: the run folder.
        output: the same folder, opened.
    """
    if not all((run / name).is_file() for name in NEEDED):
        return
    try:
        output.claim([MODEL_CARD])
    except UsageError:
        console.note(f"{MODEL_CARD} was changed by someone, so it is left as it is")
        return
    write_text(run / MODEL_CARD, model_card(run))


def model_card(run: Path) -> str:
    """Return the card of a run as Markdown.

    Args:
        run: run folder with the files `NEEDED`, and maybe `evaluation.json`.
    """
    config = load_config(run / "config.yaml")
    record, model = read_json(run / "run.json"), read_json(run / "model.json")
    scores = _scores_of(run)
    parts = [
        f"# Model card: {_code(run.resolve().name)}",
        "Written by `lungseg train` from the files of this folder; `lungseg evaluate` adds the "
        "scores. If you change it, it is left as it is.",
        "## The network",
        _network(config, model),
        "## Intended use",
        _use(config),
        "## Data",
        *_data(run, config, record),
        "## Recipe",
        _recipe(config, record),
        "## Scores",
        *_scores(scores),
        "## Known limits",
        _limits(scores),
        "## Software and hardware",
        _circumstances(record),
    ]
    return "\n\n".join(parts) + "\n"


def _scores_of(run: Path) -> dict[str, Any] | None:
    """Return the evaluation of the network as it is now; None if there is none."""
    path = run / "evaluation.json"
    scores: dict[str, Any] = read_json(path) if path.is_file() else {}
    known = scores.get("network_sha256")
    return scores if known and known == sha256_of_file(run / "model.onnx") else None


def _code(text: object) -> str:
    """Return a name from outside as code, in which Markdown and HTML mean nothing."""
    return "`" + re.sub(r"[`|\s]+", " ", str(text)).strip() + "`"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _network(config: Config, model: Mapping[str, Any]) -> str:
    height, width = config.data.image_size
    kind = "grey" if config.data.channels == 1 else "RGB"
    low, high = config.data.window
    return _list(
        [
            f"Network: {config.model.name}, {model['parameters']:,} parameters.",
            f"Input: one axial slice at a time, {height} x {width} pixels, {kind}. A CT is shown "
            f"to it from {low:g} HU (black) to {high:g} HU (white).",
            f"Output: a probability for each of {', '.join(map(_code, config.data.rgb_map))}. The "
            "most probable one is taken.",
            "Files: `model.onnx` for use, `model.keras` to train on, `model.json` for what the "
            "input must be.",
        ]
    )


def _use(config: Config) -> str:
    names = ", ".join(_code(name) for name in list(config.data.rgb_map)[1:])
    return (
        f"It marks {names} in chest CT, for research. **It is not a medical device.** Nobody has "
        "shown that it may be used for diagnosis or treatment. A person who knows chest CT has to "
        "look at its masks before anything follows from them.\n\n"
        "It was made for CT like those below. For other scanners, ages, diseases or ways of "
        "preparing slices nothing is known until it is scored on them: `lungseg evaluate --data`."
    )


def _data(run: Path, config: Config, record: Mapping[str, Any]) -> list[str]:
    rows: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(run / "data.csv", ("part", "group", "lung_fraction")):
        rows.setdefault(row["part"], []).append(row)
    unnamed = sum(not _is_named(row) for part in rows.values() for row in part)
    table = [
        [
            part,
            len(found),
            len({row["group"] for row in found}),
            f"{sum(float(row['lung_fraction']) for row in found) / len(found):.1%}",
            _code(record["data_sha256"][part]) if part in record["data_sha256"] else "",
        ]
        for part, found in rows.items()
    ]
    people = "groups" if unnamed else "patients"
    sources = [f"Data set: {_code(config.data.dataset.name)}."]
    if config.data.train_only:
        added = ", ".join(_code(folder.name) for folder in config.data.train_only)
        sources.append(f"Also trained on slices of {added} (`data.train_only`).")
    if config.train.start_from is not None:
        start = _code(Path(config.train.start_from).name)
        sources.append(f"It started from the weights of {start}; `before` are what those had seen.")
    if unnamed:
        sources.append(
            f"The patients of {unnamed} slices are not named. Slices that look alike count as one "
            "group, so a patient may be in several parts."
        )
    sources.append(
        "Where the CT come from, who labelled them, and age, sex, disease and scanner of the "
        "patients are not in these files. Add them here if you pass the network on."
    )
    return [_table(["part", "slices", people, "lung area", "SHA-256"], table), _list(sources)]


def _is_named(row: Mapping[str, str]) -> bool:
    # Version 0.1 did not say it. A patient that is named as a slice was named by likeness.
    return row.get("grouped_by", "name" if row["group"] != row["case"] else "") == "name"


def _recipe(config: Config, record: Mapping[str, Any]) -> str:
    train = config.train
    online = config.augment.online.model_dump()
    drawn = [name for name, value in online.items() if _chance(value) > 0]
    best = record.get("best")
    lines = [
        f"Loss {train.loss}, {train.optimizer}, learning rate {config.learning_rate:g} "
        f"({train.schedule}), batches of {train.batch_size}.",
        f"{record.get('epochs', train.epochs)} epochs of "
        f"{train.slices_per_epoch(record['slices']['train'])} slices. Seed {config.seed}.",
        f"Augmentation: {', '.join(drawn) if drawn else 'none'}.",
    ]
    if best is not None and train.monitor != "last":
        lines.append(
            f"Epoch {record['best_epoch']} was kept, with {train.monitor} {best:.4f}. It was "
            "chosen by this value, so do not expect the same of other patients."
        )
    return _list([*lines, "All settings are in `config.yaml`."])


def _chance(value: Any) -> float:
    return float(value["p"] if isinstance(value, dict) else value)


def _scores(scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None:
        return ["This network was not evaluated yet: `lungseg evaluate --run` this folder."]
    said = scores["verdict"]["sentence"]
    people = counted(scores["patients"], scores["group_is"])
    head = f"On {scores['cases']} cases of {people}, the part {_code(scores['part'])}. " + (
        f"{scores['group_is']} " if scores["group_is"] else ""
    )
    verdict = f"**{said}**" if scores["verdict"]["standing"] == "below" else said
    baselines = sorted(scores["baselines"], reverse=True)
    names = [*scores["classes"][:MOST_CLASSES], *([scores["joined"]] if scores["joined"] else [])]
    rows = []
    for name in names:
        found = scores["overall"][name]
        for metric in (each for each in SCORES if each in found):
            known = term(metric, scores["distance_unit"], scores["volume_unit"])
            others = [scores["baselines"][each].get(name) for each in baselines]
            rows.append(
                [
                    _code(name),
                    f"{known.name} ({known.meaning})",
                    _number(found[metric]["mean"], known.digits),
                    _interval(found[metric]["ci95"], known.digits),
                    *(_number(o[metric]["mean"], known.digits) if o else "" for o in others),
                ]
            )
    columns = ["class", "score", "mean", "95% interval"]
    table = _table([*columns, *(each.replace("_", " ") for each in baselines)], rows)
    why = f"There is no 95% interval: {scores['no_interval']}." if scores["no_interval"] else ""
    return [each for each in (head.strip(), verdict, table, why) if each]


def _limits(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "None are known, because it was not evaluated yet."
    first = scores["classes"][0]
    worst = scores["overall"][first]["dice"]["worst"]
    named = ", ".join(f"{_code(case)} {dice:.4f}" for case, dice in worst)
    items = [f"Cases with the lowest {first} Dice: {named}. `report.html` shows them."]
    if scores["patients"] < 5:
        items.append("So few patients say little about others.")
    if scores["unknown_patients"]:
        items.append(
            f"The patients of {scores['unknown_patients']} cases are unknown, so it may have been "
            "trained on some of them."
        )
    if scores["seen_in_training"]:
        items.append(
            f"{len(scores['seen_in_training'])} cases are of patients that it was trained on, so "
            "the scores are too good."
        )
    items += [f"{caveat[0].upper()}{caveat[1:]}." for caveat in scores["caveats"]]
    if missed := scores["flags"].get("prediction_empty"):
        items.append(f"In {missed} masks it found nothing where there is something.")
    error = scores["calibration"]["ece"]
    items.append(f"Its probabilities are wrong by {error:.3f} in the mean (calibration error).")
    return _list(items)


def _circumstances(record: Mapping[str, Any]) -> str:
    hardware = record["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    seconds = f", {record['seconds']:,.0f} s" if "seconds" in record else ""
    return _list(
        [
            f"Trained {record['started'][:10]} on {hardware['processor'] or hardware['machine']}, "
            f"{hardware['cores']} cores; {', '.join(map(_code, hardware['devices']))}{seconds}.",
            f"{versions}.",
        ]
    )


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _interval(ends: Sequence[float] | None, digits: int) -> str:
    return " to ".join(_number(end, digits) for end in ends) if ends else ""
