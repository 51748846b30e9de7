"""Write what was measured of the networks into the documentation.

From results/networks.json, results/real_slices.json and results/published.json it writes
docs/networks.md with its picture, the table in README.md, and lungseg/models/measured.json, which
`lungseg train --help` shows.

Example:
    python -m scripts.bench.write_networks
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.loading import check_config
from lungseg.models import NETWORKS
from lungseg.system.files import write_text
from lungseg.system.tables import read_json, write_json
from scripts.bench.real_slices import EPOCHS, SHORT, SIDE, SLICES

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"


def tables(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> Sequence[str]:
    """Return both tables as lines of Markdown."""
    shipped = first["original, as shipped"]
    rows = {name: first[name] for name in ("original, as shipped", "original, ours")}
    rows = {**rows, "default (resunet)": {**second["resunet"], "settings": "oneDNN"}}
    lines = [
        "## The original system and this one, at 512 x 512",
        "",
        "| | training, s per slice | times faster | inference, s per slice | times faster "
        "| peak memory in training, MiB | settings | date |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['train_s']:.3g} | {shipped['train_s'] / row['train_s']:.3g} "
        f"| {_or_dash(row, 'infer_s')} "
        f"| {format(shipped['infer_s'] / row['infer_s'], '.3g') if 'infer_s' in row else '-'} "
        f"| {row['train_mib']:.0f} | {row['settings']} | {row['date']} |"
        for name, row in rows.items()
    ]
    ours = rows["original, ours"]
    rates = [3 * ours["gflop"] / row["train_s"] for row in (ours, shipped)]
    lines += [
        "",
        paragraph(
            "'As shipped' is the original's own network and settings; 'ours' is the same network "
            "with the fastest settings measured here. A training step needs three times the "
            "operations of a forward pass. So the original as shipped runs at "
            f"{rates[1]:.0f} GFLOP/s, and with our settings at {rates[0]:.0f} GFLOP/s, which is "
            f"{rates[0] / rates[1]:.1f} times as fast. The peak of two cores of an AMD EPYC would "
            "allow about 12 times."
        ),
        "",
        "## Networks",
        "",
        paragraph(
            "Speed is in seconds per slice of 512 x 512. Training uses batches of "
            f"{check_config({}, 'bench').train.batch_size}; inference uses ONNX Runtime."
        ),
        "",
        "| network | parameters | GFLOP | training, s | inference, s | training, MiB | date |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['parameters']:,} | {row['gflop']:.1f} | {_or_dash(row, 'train_s')} "
        f"| {_or_dash(row, 'infer_s')} | {_or_dash(row, 'train_mib', '.0f')} | {row['date']} |"
        for name, row in second.items()
    ]
    if missing := [f"`{name}`" for name, row in second.items() if "infer_s" not in row]:
        lines += ["", paragraph(f"Speed not measured yet: {', '.join(missing)}.")]
    return lines


PURPOSE = {
    "resunet": "the default: compact residual U-Net, works at a quarter of the resolution",
    "flexunet": "the network of the published system, for RGB slices (`configs/original.yaml`)",
    "attention_unet": "attention gates, [Oktay et al., 2018](https://arxiv.org/abs/1804.03999)",
    "unet3plus": "full-scale skip connections, [Huang et al., 2020](https://arxiv.org/abs/2004.08790)",
    "multiresunet": "multi-resolution blocks, [Ibtehaz and Rahman, 2020](https://arxiv.org/abs/1902.04049)",
    "sharp_unet": "sharpened skip connections, [Zunair and Ben Hamza, 2021](https://arxiv.org/abs/2107.12461)",
    "u2net": "a U-Net of U-Nets, [Qin et al., 2020](https://arxiv.org/abs/2005.09007)",
    "transunet": "a transformer at the deepest level, [Chen et al., 2021](https://arxiv.org/abs/2102.04306)",
    "swin_unet": "transformers in shifted windows, [Cao et al., 2021](https://arxiv.org/abs/2105.05537)",
    "deeplabv3plus": "atrous spatial pyramid, [Chen et al., 2018](https://arxiv.org/abs/1802.02611)",
    "efficientunet": "EfficientNetV2-B0 encoder, [Tan and Le, 2021](https://arxiv.org/abs/2104.00298)",
}


COMMANDS = """\
```sh
cts=$(ls open-ct/volumes/*.nii.gz | grep -v "r01-001\\|001-lower")
lungseg label $cts -o work/labelled
lungseg prepare --images work/labelled/images --masks work/labelled/masks -o work/prepared
lungseg split --input work/prepared -o work/dataset -s split.fractions="[0.65, 0.35, 0]"
lungseg label dicom-lidc-1011 -o work/other_lidc
lungseg label dicom-petct-a0001 -o work/other_petct
mkdir -p work/raw/images work/raw/masks
cp work/other_*/images/* open-ct/volumes/nsclc-radiogenomics-r01-001.nii.gz work/raw/images
cp work/other_*/masks/* open-ct/masks/nsclc-radiogenomics-r01-001.nii.gz work/raw/masks
lungseg prepare --images work/raw/images --masks work/raw/masks -o work/others
python -m scripts.bench.real_slices --data work/dataset --test work/others
```"""


def paragraph(text: str) -> str:
    """Break a text into lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def update_readme(networks: dict[str, dict[str, Any]], scores: dict[str, str], note: str) -> None:
    """Write the table of networks and a note below it between its two marks in README.md."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    head, rest = text.split("<!-- networks -->\n")
    _, tail = rest.split("<!-- end -->")
    lines = [
        "| `model.name` | what | parameters | GFLOP | training, s | inference, s | Dice |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {PURPOSE[name]} | {row['parameters']:,} | {row['gflop']:.1f} "
        f"| {_or_dash(row, 'train_s')} | {_or_dash(row, 'infer_s')} | {scores.get(name, '-')} |"
        for name, row in networks.items()
    ]
    table = "\n".join([*lines, "", note])
    write_text(path, f"{head}<!-- networks -->\n{table}\n<!-- end -->{tail}")


def dice_of(trainings: dict[str, Any]) -> str:
    """Return the mean lung Dice of a network's trainings; with several seeds, also the range."""
    found = [each["dice"] for each in trainings.values()]
    mean = f"{np.mean(found):.3f}"
    return mean if len(found) < 2 else f"{mean} ({min(found):.3f} to {max(found):.3f})"


def real_table(real: dict[str, Any]) -> list[str]:
    """Return the scores after training on real slices, as lines of Markdown.

    Networks that were not trained yet are named below the table.
    """
    patients = sorted(next(iter(real["trainings"].values()))["0"]["patients"])
    lines = [
        f"| network | learning rate | seeds | lung Dice | {' | '.join(patients)} | s | date |",
        "|---|---|---|---|" + "---|" * len(patients) + "---|---|",
    ]
    for name in NETWORKS:
        trainings = real["trainings"].get(name, {})
        if not trainings:
            continue
        first = trainings["0"]
        of_patients = [
            f"{np.mean([each['patients'][patient] for each in trainings.values()]):.3f}"
            for patient in patients
        ]
        lines.append(
            f"| {name} | {first['learning_rate']:g} | {len(trainings)} | {dice_of(trainings)} "
            f"| {' | '.join(of_patients)} | {first['seconds']} | {first['date']} |"
        )
    missing = [f"`{name}`" for name in NETWORKS if not real["trainings"].get(name)]
    if missing:
        lines += ["", f"Not trained in this way yet: {', '.join(missing)}."]
    return lines


def rates_table(real: dict[str, Any]) -> list[str]:
    """Return the scores of the short trainings at several learning rates, as lines of Markdown."""
    rates = sorted({rate for found in real["rates"].values() for rate in found}, key=float)
    lines = [f"| network | {' | '.join(rates)} |", "|---|" + "---|" * len(rates)]
    for name in (each for each in NETWORKS if each in real["rates"]):
        found = real["rates"][name]
        cells = [
            f"{_judged(found[rate]['patients']):.3f}" if rate in found else "-" for rate in rates
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    untried = [
        f"`{name}` {check_config({'model': {'name': name}}, 'bench').learning_rate:g}"
        for name in NETWORKS
        if name not in real["rates"]
    ]
    if untried:
        lines += ["", paragraph(f"Chosen without a measurement yet: {', '.join(untried)}.")]
    return lines


def _judged(patients: dict[str, float]) -> float:
    """Return the mean lung Dice of the volumes that rates are judged by."""
    chosen = JUDGED if patients.keys() >= set(JUDGED) else patients
    return float(np.mean([patients[name] for name in chosen]))


def published_section(published: dict[str, Any], seconds_per_slice: float, gflop: float) -> str:
    """Return what training by configs/original.yaml gave, and what the whole would take."""
    curve = published["curve"]
    passed = next(i for i, row in enumerate(curve, 1) if row["val_lung_dice"] > 0.9)
    shown = sorted({1, 5, 10, 20, 30, 40, 50, passed, published["best_epoch"], len(curve)})
    rows = [
        f"| {epoch} | {row['loss']:.3f} | {row['val_loss']:.3f} | {row['lung_dice']:.3f} "
        f"| {row['val_lung_dice']:.3f} | {row['learning_rate']:.2g} |"
        for epoch in shown
        for row in [curve[epoch - 1]]
    ]
    slices = 1000
    hours = 72 * slices * seconds_per_slice / 3600
    work = 72 * slices * 3 * gflop / 1e6
    text = [
        "## The published training",
        paragraph(
            "`configs/original.yaml` as it is (FlexUNet with 8 levels, RGB slices of 512 x 512, "
            "batches of 2, Adam at 0.00007, the reducer and early stopping) was trained on "
            f"{published['slices']['train']} of the 13 slices of LungSegDB that are published "
            f"with the original. {published['slices']['valid']} slices of other patients were held "
            "back; their loss set the learning rate and ended the training. The lung Dice on them "
            f"passed 0.9 in epoch {passed}. The best epoch was {published['best_epoch']} with "
            f"{curve[published['best_epoch'] - 1]['val_lung_dice']:.3f}. Early stopping ended the "
            f"training after {len(curve)} epochs and {published['seconds'] / 60:.0f} minutes "
            f"({published['started'][:10]}, {published['hardware']['cores']} cores of "
            f"{published['hardware']['processor']}). ONNX Runtime and Keras differ by "
            f"{published['onnx_difference']:.1e}."
        ),
        "| epoch | loss | loss, held back | lung Dice | lung Dice, held back | learning rate |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows),
        "![Lung Dice over the epochs](published_training.png)",
        paragraph(
            "So few slices show that the network learns, not how well: an epoch is 5 steps. The "
            "original's training ended after 72 epochs. Its number of slices is not published. For "
            f"each {slices:,} slices, 72 epochs take {hours:.0f} hours here "
            f"({seconds_per_slice:.2g} s a slice). They are {work:.0f} PFLOP (three forward passes "
            f"of {gflop:.1f} GFLOP each), or {work / 10 / 3.6:.1f} hours on a GPU that sustains 10 "
            "TFLOP/s. Both are by arithmetic."
        ),
        "```sh\npython -m scripts.bench.published --images slices/images --masks slices/masks \\\n"
        "    --work work/published       # goes on where it was stopped\n```",
    ]
    return "\n\n".join(text)


def draw_curve(curve: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the lung Dice of a training over its epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="lung Dice", ylim=(0, 1))
    epochs = range(1, len(curve) + 1)
    axes.plot(epochs, [row["lung_dice"] for row in curve], label="training slices")
    axes.plot(epochs, [row["val_lung_dice"] for row in curve], label="held-back slices")
    axes.axhline(0.9, color="grey", linewidth=0.8, linestyle="--")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


WHAT_IT_IS = (
    "Dice is the lung Dice on three patients of other collections, each as a whole volume, after "
    "training on {slices:,} real slices of 256 x 256, with the labels and the commands of the page "
    "on networks. It compares the networks; longer trainings score higher."
)


REAL_SLICES = "\n\n".join(
    [
        "## The same real slices for every network",
        paragraph(
            f"Each network was shown {SLICES:,} slices of {SIDE} x {SIDE} in {EPOCHS} epochs by "
            "the default recipe, at a learning rate of its own. The slices are of seven patients "
            "of The Cancer Imaging Archive, labelled by a threshold (`lungseg label`), so they are "
            "no ground truth. One volume is left out, because its label has colon as lung. The "
            "scores are on three patients of other collections that took part in no choice: "
            "LIDC-IDRI 1011 and Lung-PET-CT-Dx A0001, labelled in the same way, and NSCLC "
            "Radiogenomics R01-001 with the mask of BAMF Health (AIMI). A patient's "
            "Dice is that of the whole volume; the mean is over the patients. The default works on "
            "a quarter of the height and width of 512 pixels, and on half of 256 "
            "(`model.stem_stride: 2`). Seconds are those of the first training on one core, which "
            "other work shared: those of `unet3plus` and `multiresunet` are several times too many."
        ),
        COMMANDS,
    ]
)
# The volumes that the rates are judged by: those of the valid part whose labels are right.
JUDGED = ("acrin-flt-breast-001-upper", "crlm-1006", "tcga-thca-a4ma")
RATES = paragraph(
    f"The learning rates were chosen by trainings on {SHORT[1]} slices of {SHORT[0]} x {SHORT[0]} "
    "with one seed (`--rate`), with lesions on half of the slices and labels of an earlier "
    "version. The table has the mean lung Dice on three volumes held back from these trainings. "
    "`unet3plus` was tried later, by the recipe and the slices of the table above, and its three "
    "volumes are those that were held back from these. "
    "All networks have the schedule of the default recipe: one epoch of "
    "warm-up, then a cosine to zero. For `resunet`, 0.002 lies between the two best."
)


def main() -> None:
    """Write docs/networks.md, the table in README.md, and what `lungseg train --help` shows."""
    known, real, published = (
        read_json(RESULTS / f"{name}.json") for name in ("networks", "real_slices", "published")
    )
    hardware = known["hardware"]
    known["networks"] = {name: known["networks"][name] for name in NETWORKS}
    for name, row in known["networks"].items():
        row.pop("dice", None)
        trainings = real["trainings"].get(name, {}).values()
        if trainings:
            row["dice"] = round(float(np.mean([each["dice"] for each in trainings])), 4)
        row["learning_rate"] = check_config({"model": {"name": name}}, "bench").learning_rate
    several = " and ".join(
        f"`{name}`" for name, found in real["trainings"].items() if len(found) > 1
    )
    scores = {name: dice_of(trainings) for name, trainings in real["trainings"].items()}
    timed = [row for row in known["networks"].values() if "infer_s" in row]
    dates = " and ".join(sorted({row["date"] for row in timed}))
    kept = {"date": dates} | {key: known[key] for key in ("hardware", "software", "networks")}
    write_json(ROOT / "lungseg" / "models" / "measured.json", kept)
    ours = known["original"]["original, ours"]
    draw_curve(published["curve"], ROOT / "docs" / "published_training.png")
    lines = [
        "# Networks",
        "",
        paragraph(
            f"Speed was measured by `python -m scripts.bench.networks` on {dates} with "
            f"{hardware['cores']} cores of {hardware['processor']}. Seconds differ from machine to "
            "machine and from day to day; ratios stay much the same within a day."
        ),
        "",
        paragraph("Software: " + ", ".join(f"{k} {v}" for k, v in known["software"].items()) + "."),
        "",
        *tables(known["original"], known["networks"]),
        "",
        REAL_SLICES,
        "",
        *real_table(real),
        "",
        RATES,
        "",
        *rates_table(real),
        "",
        published_section(published, ours["train_s"], ours["gflop"]),
    ]
    write_text(ROOT / "docs" / "networks.md", "\n".join(lines) + "\n")
    update_readme(
        known["networks"],
        scores,
        paragraph(
            f"Seconds are per slice of 512 x 512; inference is by ONNX Runtime (measured on "
            f"{dates}, {hardware['cores']} cores of {hardware['processor']}). "
            + WHAT_IT_IS.format(slices=SLICES)
            + f" {several} with three seeds: mean and range. A dash is what is not measured "
            "yet. [Networks](docs/networks.md) has more."
        ),
    )


def _or_dash(row: dict[str, Any], key: str, form: str = ".3g") -> str:
    return format(row[key], form) if key in row else "-"


if __name__ == "__main__":
    main()
