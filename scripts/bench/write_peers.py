"""Write the comparison with lungmask and nnU-Net into docs/benchmarks.md and README.md.

From results/peers.json, which `scripts.bench.peers` writes.

Example:
    python -m scripts.bench.write_peers
"""

import textwrap
from pathlib import Path
from typing import Any

from lungseg.system.files import write_text
from lungseg.system.tables import read_json
from scripts.bench.write_networks import paragraph

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "peers.json"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- peers -->\n", "<!-- end of peers -->\n"

# Key in the results: package, and what the row is.
ROWS = {
    "lungseg": ("lungseg", "lungseg, as it comes"),
    "lungseg_no_gallery": ("lungseg", "lungseg, `infer.gallery=none`"),
    "lungmask": ("lungmask", "lungmask, as it comes (20 slices at a time)"),
    "lungmask_cpu": ("lungmask", "lungmask, `--cpu` (one slice at a time)"),
    "nnunet": ("nnunet", "nnU-Net 2-D, `--disable_tta`"),
    "nnunet_mirrored": ("nnunet", "nnU-Net 2-D, as it comes (mirrored)"),
}
# The rows that README compares, ours first.
QUOTED = ("lungseg", "lungmask", "nnunet")


def best(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the least seconds and processor seconds of all turns, and the most memory."""
    return {
        "seconds": min(each["seconds"] for each in turns),
        "cpu_seconds": min(each["cpu_seconds"] for each in turns),
        "peak_mib": max(each["peak_mib"] for each in turns),
    }


def short(figure: float) -> str:
    """Return a figure with three digits, or as a whole number from 100 on."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def passes(row: str, networks: dict[str, Any]) -> int:
    """Return how often a row's network sees a slice."""
    return int(networks["nnunet"]["passes_with_mirroring"]) if row == "nnunet_mirrored" else 1


def inference_table(found: dict[str, Any]) -> list[str]:
    """Return the table from file to mask as lines of Markdown."""
    lines = [
        "| | seconds | times ours | processor, s | times ours | peak memory, MiB | installed, MB "
        "| GFLOP a slice |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ours = best(found["turns"]["lungseg"])
    for row, (package, label) in ROWS.items():
        if not found["turns"].get(row):
            continue
        one = best(found["turns"][row])
        work = found["networks"][package]["gflop"] * passes(row, found["networks"])
        figures = [
            *(one["seconds"], one["seconds"] / ours["seconds"]),
            *(one["cpu_seconds"], one["cpu_seconds"] / ours["cpu_seconds"]),
            *(one["peak_mib"], found["installed_mb"][package], work),
        ]
        lines.append(f"| {label} | {' | '.join(short(figure) for figure in figures)} |")
    return lines


def training_table(training: dict[str, Any]) -> list[str]:
    """Return the table of training steps as lines of Markdown."""
    lines = ["| | s a slice | processor, s a slice | slices in a batch |", "|---|---|---|---|"]
    for package, label in (("lungseg", "lungseg's default network"), ("nnunet", "nnU-Net 2-D")):
        if package in training:
            one = training[package]
            figures = f"{short(one['seconds'])} | {short(one['cpu_seconds'])} | {one['batch']}"
            lines.append(f"| {label} | {figures} |")
    return lines


def section(found: dict[str, Any]) -> str:
    """Return the section of the page."""
    versions, hardware = found["versions"], found["hardware"]
    others = [each["others"] for turns in found["turns"].values() for each in turns]
    most = max(len(turns) for turns in found["turns"].values())
    once = "; nnU-Net with mirroring had one" if found["turns"].get("nnunet_mirrored") else ""
    text = [
        "## Beside lungmask and nnU-Net",
        paragraph(
            f"Measured by `make bench-peers` on {found['date']} with {hardware['cores']} cores of "
            f"{hardware['processor']}: lungmask {versions['lungmask']}, nnU-Net "
            f"{versions['nnunetv2']}, PyTorch {versions['torch']}, ONNX Runtime "
            f"{versions['onnxruntime']}. Each row is a process from the CT's file to the mask's "
            f"file, on the same phantom of {found['slices']} slices of 512 x 512. The rows took "
            f"turns, at most {most} each{once}. The table has the least "
            "seconds and the largest peak of memory, with all processes of a row added up."
        ),
        paragraph(
            f"Other work kept {min(others):.1f} to {max(others):.1f} cores busy meanwhile. Where "
            "it did, seconds are too many. The seconds of the processor leave out the waiting, so "
            "they compare the rows better."
        ),
        "\n".join(inference_table(found)),
        "What is compared, and what is not:",
        "\n".join(bullet(note) for note in notes(found)),
    ]
    if not found["training"]:
        return "\n\n".join([*text, "A training step is not measured yet."]) + "\n"
    text += [
        "### A training step",
        paragraph(
            "Forward, backward and optimizer on one batch, without reading and augmentation. For "
            "nnU-Net it is its own trainer, with the batch that its planner chose; on a larger "
            "data set than that of the phantoms it chooses a larger batch."
        ),
        "\n".join(training_table(found["training"])),
    ]
    return "\n\n".join(text) + "\n"


def notes(found: dict[str, Any]) -> list[str]:
    """Return what is compared and what is not."""
    ours = found["networks"]["lungseg"]["gflop"]
    patch = found["networks"]["nnunet"]["patch"]
    noise = found["turns"].get("lungmask_as_initialised")
    kept = (
        f" (with noise, the same run takes {best(noise)['seconds']:.3g} s, and "
        f"{best(noise)['cpu_seconds']:.3g} s of the processor)"
        if noise
        else ""
    )
    return [
        "Accuracy is not compared. The peers' trained weights are not downloaded: their networks "
        "have their own architecture, and weights as initialised, with which a network needs the "
        "same time as with trained ones.",
        "lungmask cleans up what its network answers, and a network that is not trained answers "
        f"noise, on which that takes long{kept}. So the network does its work, and then its answer "
        "is replaced by the phantom's true lungs.",
        "lungmask's network sees slices of 256 x 256, cut to the body. Ours sees 512 x 512 and "
        f"works at a quarter of the height and width, hence {ours:.3g} GFLOP. nnU-Net's 2-D "
        f"network sees {patch[0]} x {patch[1]}, as its own planner chose for phantoms.",
        "One nnU-Net network predicts. An ensemble of five folds, which nnU-Net recommends, needs "
        "five times its GFLOP.",
        "lungseg also measures the lungs, flags doubtful masks, tells left from right, and draws a "
        "page to look at the masks. The second row leaves out that page.",
        "'Installed' is a fresh environment made with pip on Linux x86-64, with pip itself and the "
        "bytecode that it writes: lungseg for inference alone, the peers with PyTorch's CPU build. "
        "PyTorch's usual build for Linux is several times as large.",
        "All rows are on the CPU. On a GPU the ratios are others; they were not measured.",
    ]


def bullet(text: str) -> str:
    """Return a text as an item of a list, in lines of at most 100 characters."""
    return textwrap.fill(
        text,
        100,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def readme_lines(found: dict[str, Any]) -> str:
    """Return the two lines for README."""
    shown = {row: best(found["turns"][row]) for row in QUOTED}
    times = [shown[row]["cpu_seconds"] / shown["lungseg"]["cpu_seconds"] for row in shown]
    return (
        f"From the file of a CT of {found['slices']} slices to the file of its mask on "
        f"{found['hardware']['cores']} cores, lungmask takes {times[1]:.2g} times and\n"
        f"nnU-Net 2-D {times[2]:.2g} times the processor time of lungseg; "
        "[accuracy is not compared](docs/benchmarks.md#beside-lungmask-and-nnu-net)."
    )


def between(text: str, new: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with what stands between its two marks replaced.

    Raises:
        ValueError: if the page does not have both marks once, in this order.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the page needs {begin.strip()} and {end.strip()}, each once.")
    before, rest = text.split(begin)
    return f"{before}{begin}{new}{end}{rest.split(end)[1]}"


def main() -> None:
    """Write both pages.

    Raises:
        SystemExit: if a row that README quotes was not measured.
    """
    found = read_json(RESULTS)
    missing = [row for row in QUOTED if not found["turns"].get(row)]
    if missing:
        raise SystemExit(f"{RESULTS}: {', '.join(missing)} not measured; run make bench-peers.")
    for path, new in ((PAGE, section(found)), (README, readme_lines(found) + "\n")):
        write_text(path, between(path.read_text(encoding="utf-8"), new))


if __name__ == "__main__":
    main()
