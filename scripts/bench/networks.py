"""Measure the networks: the original as shipped against ours, and every network in the registry.

Each is measured in a separate process, one after the other: speed of training and inference at
512 x 512, peak memory, and the lung Dice after one short training on the same phantoms.
Writes results/networks.json and from it docs/networks.md, the table in README.md, and
lungseg/models/measured.json, which `lungseg train --help` shows. Networks that are in
results/networks.json already are not measured again.

Example:
    python -m scripts.bench.networks --anew     measure everything again
    python -m scripts.bench.networks --write    only write the pages from results/networks.json
"""

import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from lungseg.config.loading import check_config, load_config
from lungseg.config.schema import Config
from lungseg.models import NETWORKS
from lungseg.system.environment import cores, describe_hardware, describe_software
from lungseg.system.files import write_text
from lungseg.system.tables import read_json, write_json
from lungseg.training.backend import Execution, start_tensorflow
from lungseg.training.tuning import seconds_per_slice
from scripts.bench.speed import best_of
from tests.support.watch import watch

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "networks.json"
# The original asks for neither oneDNN nor XLA. It is measured with one thread.
AS_SHIPPED = Execution(1, False, False, False)
OURS = Execution(cores(), True, False, False)
SHORT_RUN_SIDE, SHORT_RUN_SLICES = 128, 480
# The default stride is meant for 512 pixels, so these small slices are not reduced.
SHORT_RUN_MODEL = {"resunet": {"stem_stride": 1}}


def child(job: dict[str, Any]) -> dict[str, float]:
    """Do the measurements of `job`. It needs a new process, because it sets TensorFlow up."""
    config = check_config(job["config"], "bench")
    execution = Execution(**job["execution"])
    start_tensorflow(execution)
    import keras

    from lungseg.models import build_model
    from lungseg.training.compiling import compile_model
    from lungseg.training.exporting import export_onnx
    from lungseg.verbs.inspect import inspect

    found: dict[str, float] = {}
    for what in job["what"]:
        keras.utils.clear_session()
        keras.utils.set_random_seed(config.seed)
        if what == "train":
            model = compile_model(config, 1, execution)
            found["train_s"] = seconds_per_slice(model, config, job["tries"])
            found["train_mib"] = _peak_mib()
        elif what == "size":
            network = inspect(config)
            found |= {"parameters": network.parameters, "gflop": network.gflop}
        elif what == "keras":
            model, one = build_model(config), _noise(config)
            model.predict(one, verbose=0)
            found["infer_s"] = best_of(2, partial(model.predict, one, verbose=0))
        elif what == "export":
            model = build_model(config)
            # An untrained FlexUNet without normalisation has scores in the thousands. There, the
            # rounding of float32 exceeds what export allows. The scores of a trained one are small.
            kernel = next(w for w in reversed(model.trainable_weights) if w.name == "kernel")
            kernel.assign(0.01 * kernel)
            export_onnx(model, config, Path(job["folder"]))
        else:
            found["dice"] = _short_run(config)
    return found


ONNX = """
import sys, time
from pathlib import Path
import numpy as np
from lungseg.inference.predictor import Predictor
predictor = Predictor(Path(sys.argv[1]))
size = (*predictor.data.image_size, 3)[: 2 + (predictor.data.channels == 3)]
slices = [np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)]
predictor.probabilities(slices)
seconds = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    predictor.probabilities(slices)
    seconds.append(time.perf_counter() - start)
print(min(seconds))
"""


def onnx_speed(folder: Path, tries: int = 3) -> dict[str, float]:
    """Measure ONNX Runtime on an exported network, in a process without TensorFlow."""
    command = [sys.executable, "-c", ONNX, str(folder / "model.onnx"), str(tries)]
    seen = watch(command)
    if seen.code:
        raise SystemExit(f"{folder}: {seen.said}")
    return {"infer_s": float(seen.said), "infer_mib": seen.peak_mib}


def ask(
    config: Config, execution: Execution, *what: str, tries: int = 3, folder: str = ""
) -> dict[str, Any]:
    """Run `child` in a separate process."""
    job = {
        "config": config.model_dump(mode="json"),
        "execution": asdict(execution),
        "what": what,
        "tries": tries,
        "folder": folder,
    }
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.networks", "--child"],
        cwd=ROOT,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{config.model.name} {what}: {done.returncode} {done.stderr[-2000:]}")
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    sys.stderr.write(f"{config.model.name}, {execution}: {found}\n")
    return found


def _noise(config: Config) -> np.ndarray:
    shape = (1, *config.data.image_size, config.data.channels)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _short_run(config: Config) -> float:
    """Train on slices of eight phantoms and return the mean lung Dice on four others."""
    import keras

    from lungseg.dataset.slices import Slice
    from lungseg.phantom.dataset import write_phantoms
    from lungseg.training.compiling import compile_model
    from lungseg.training.pipeline import Pipeline

    keras.utils.set_random_seed(config.seed)
    with tempfile.TemporaryDirectory() as name:
        files = write_phantoms(Path(name), 12, 6, SHORT_RUN_SIDE, window=config.data.window)
        slices = [
            Slice(f.image.stem, f.image.stem, str(f.patient), f.image, f.mask, 0.2, "", "")
            for f in files
        ]
        pipeline = Pipeline(config, slices[:48], slices[48:])
        model = compile_model(config, pipeline.steps)
        epochs = config.train.epochs
        model.fit(
            pipeline.training(0, epochs),
            epochs=epochs,
            steps_per_epoch=pipeline.steps,
            shuffle=False,
            verbose=0,
        )
        return float(
            model.evaluate(pipeline.validation(), verbose=0, return_dict=True)["lung_dice"]
        )


def original(known: dict[str, Any]) -> None:
    """Measure the original's network as shipped, and with the fastest settings on this machine."""
    found: dict[str, dict[str, Any]] = known.setdefault("original", {})
    config = load_config(ROOT / "configs" / "original.yaml")
    if "original, as shipped" not in found:
        shipped = ask(config, AS_SHIPPED, "train", "keras", tries=1)
        shipped |= {"settings": f"{AS_SHIPPED}; inference by Keras", "date": _today()}
        found["original, as shipped"] = shipped
        write_json(RESULTS, known)
    tried = found.setdefault("original, tried", {})
    for onednn, xla in ((True, False), (False, True)):
        execution = Execution(cores(), onednn, xla, False)
        if str(execution) not in tried:
            tried[str(execution)] = ask(config, execution, "train", tries=2)
            write_json(RESULTS, known)
    if "infer_s" not in found.get("original, ours", {}):
        best = min(tried, key=lambda settings: tried[settings]["train_s"])
        with tempfile.TemporaryDirectory() as folder:
            made = ask(config, OURS, "size", "export", folder=folder)
            ours = {**tried[best], **made, **onnx_speed(Path(folder))}
        ours |= {"settings": f"{best}; inference by ONNX Runtime", "date": _today()}
        found["original, ours"] = ours
        write_json(RESULTS, known)


def networks(known: dict[str, Any]) -> None:
    """Measure every network of the registry with its defaults. FlexUNet is measured above."""
    found: dict[str, dict[str, Any]] = known.setdefault("networks", {})
    for name in NETWORKS:
        if {"dice", "infer_s"} <= found.get(name, {}).keys():
            continue
        short = check_config(
            {
                "data": {"image_size": [SHORT_RUN_SIDE] * 2},
                "model": {"name": name, **SHORT_RUN_MODEL.get(name, {})},
                "train": {"epochs": 8, "samples_per_epoch": SHORT_RUN_SLICES // 8},
            },
            "bench",
        )
        if name == "flexunet":
            ours = known["original"]["original, ours"]
            found[name] = ours | ask(short, OURS, "short run")
        else:
            config = check_config({"model": {"name": name}}, "bench")
            with tempfile.TemporaryDirectory() as folder:
                found[name] = ask(config, OURS, "train", "size", "export", folder=folder)
                found[name] |= onnx_speed(Path(folder)) | ask(short, OURS, "short run")
                found[name]["date"] = _today()
        write_json(RESULTS, known)


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
            f"{check_config({}, 'bench').train.batch_size}; inference uses ONNX Runtime. Dice is "
            "the lung Dice after one short training, with the same settings for every network: "
            f"{SHORT_RUN_SLICES} phantom slices of {SHORT_RUN_SIDE} x {SHORT_RUN_SIDE} to train "
            "on, then 24 slices of other phantoms to test on. `resunet` is made for 512 pixels, "
            "so it ran with `stem_stride: 1` here."
        ),
        "",
        "| network | parameters | GFLOP | training, s | inference, s | training, MiB "
        "| Dice | date |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['parameters']:,} | {row['gflop']:.1f} | {_or_dash(row, 'train_s')} "
        f"| {_or_dash(row, 'infer_s')} | {_or_dash(row, 'train_mib', '.0f')} "
        f"| {_or_dash(row, 'dice', '.3f')} | {row['date']} |"
        for name, row in second.items()
    ]
    return lines


PURPOSE = {
    "resunet": "the default: compact residual U-Net, works at a quarter of the resolution",
    "flexunet": "the network of the published system, for RGB slices (`configs/original.yaml`)",
    "attention_unet": "attention gates, [Oktay et al., 2018](https://arxiv.org/abs/1804.03999)",
    "unet3plus": "full-scale skip connections, [Huang et al., 2020](https://arxiv.org/abs/2004.08790)",
    "multiresunet": "multi-resolution blocks, [Ibtehaz and Rahman, 2020](https://arxiv.org/abs/1902.04049)",
    "deeplabv3plus": "atrous spatial pyramid, [Chen et al., 2018](https://arxiv.org/abs/1802.02611)",
    "efficientunet": "EfficientNetV2-B0 encoder, [Tan and Le, 2021](https://arxiv.org/abs/2104.00298)",
}


def paragraph(text: str) -> str:
    """Break a text into lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def update_readme(networks: dict[str, dict[str, Any]], note: str) -> None:
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
        f"| {_or_dash(row, 'train_s')} | {_or_dash(row, 'infer_s')} "
        f"| {_or_dash(row, 'dice', '.3f')} |"
        for name, row in networks.items()
    ]
    table = "\n".join([*lines, "", note])
    write_text(path, f"{head}<!-- networks -->\n{table}\n<!-- end -->{tail}")


def main() -> None:
    """Measure what results/networks.json lacks (with `--anew` everything), and write the pages."""
    known: dict[str, Any] = {}
    if RESULTS.exists() and "--anew" not in sys.argv:
        known = read_json(RESULTS)
    if "--write" not in sys.argv:
        original(known)
        networks(known)
        known |= {"hardware": describe_hardware(), "software": describe_software()}
        write_json(RESULTS, known)
    write_up(known)


def write_up(known: dict[str, Any]) -> None:
    """Write docs/networks.md, the table in README.md, and what `lungseg train --help` shows."""
    hardware = known["hardware"]
    known["networks"] = {name: known["networks"][name] for name in NETWORKS}
    dates = " and ".join(sorted({row["date"] for row in known["networks"].values()}))
    kept = {"date": dates} | {key: known[key] for key in ("hardware", "software", "networks")}
    write_json(ROOT / "lungseg" / "models" / "measured.json", kept)
    lines = [
        "# Networks",
        "",
        paragraph(
            f"Measured by `python -m scripts.bench.networks` on {dates} with {hardware['cores']} "
            f"cores of {hardware['processor']}. Seconds differ from machine to machine and from "
            "day to day; ratios stay much the same within a day."
        ),
        "",
        paragraph("Software: " + ", ".join(f"{k} {v}" for k, v in known["software"].items()) + "."),
        "",
        *tables(known["original"], known["networks"]),
    ]
    write_text(ROOT / "docs" / "networks.md", "\n".join(lines) + "\n")
    update_readme(
        known["networks"],
        paragraph(
            "Seconds are per slice of 512 x 512; inference is by ONNX Runtime. Dice is the lung "
            "Dice after one short training on phantoms. All networks use the same settings. "
            "FlexUNet has no normalisation and diverges at that learning rate. Measured by "
            f"`python -m scripts.bench.networks` on {dates} with {hardware['cores']} cores of "
            f"{hardware['processor']}. [Networks](docs/networks.md) has more."
        ),
    )


def _today() -> str:
    return datetime.date.today().isoformat()


def _or_dash(row: dict[str, Any], key: str, form: str = ".3g") -> str:
    return format(row[key], form) if key in row else "-"


if __name__ == "__main__":
    if "--child" in sys.argv:
        answer = child(json.load(sys.stdin))
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        main()
