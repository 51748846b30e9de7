"""Measure speed and memory, as ratios of two things in one run, and write docs/benchmarks.md.

On a shared machine, seconds change from run to run, but ratios stay much the same. Each figure is
the best of several tries.

Example:
    python -m scripts.bench.speed
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from lungseg.config.loading import check_config
from lungseg.system.environment import cores
from lungseg.system.files import write_text
from lungseg.system.privacy import private_import
from lungseg.system.tables import write_json
from scripts.bench.write_peers import BEGIN
from tests.support.watch import watch

RESULTS = Path(__file__).parent / "results" / "benchmarks.json"
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def best_of(tries: int, work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of several tries."""
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def shell(*command: str) -> str:
    """Run Python with arguments; return its standard output."""
    return subprocess.run(
        [sys.executable, *command], check=True, capture_output=True, text=True
    ).stdout


def start_up() -> dict[str, float]:
    """Compare `lungseg --help` with the imports that it cannot do without."""
    for command in (("-m", "lungseg", "--help"), ("-c", "import typer, rich")):
        shell(*command)  # fill the disk cache
    ours = best_of(7, lambda: shell("-m", "lungseg", "--help"))
    least = best_of(7, lambda: shell("-c", "import typer, rich"))
    return {"lungseg --help, s": ours, "import typer, rich, s": least, "ratio": ours / least}


PREPARE = """
import sys
from pathlib import Path
from lungseg.config.schema import Config
from lungseg.verbs.prepare import prepare
folder = Path(sys.argv[1])
prepare(Config(), folder / "images", folder / "masks", folder / "out")
"""


def prepare_memory() -> dict[str, float]:
    """Measure the peak memory of `prepare` on 200 and on 2,000 slices of 512 x 512."""
    from lungseg.phantom.dataset import write_phantoms

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for count in (200, 2000):
            (drawn,) = write_phantoms(base / str(count), patients=1, slices=1)
            for first in (drawn.image, drawn.mask):
                for number in range(1, count):
                    os.link(first, first.with_name(f"s{number}.png"))
            start = time.perf_counter()
            seen = watch([sys.executable, "-c", PREPARE, str(base / str(count))])
            assert seen.code == 0, seen.said
            found[f"{count} slices, MiB"] = seen.peak_mib
            found[f"{count} slices, slices/s"] = count / (time.perf_counter() - start)
    found["ratio"] = found["2000 slices, MiB"] / found["200 slices, MiB"]
    return found


def scoring() -> dict[str, float]:
    """Compare all surface scores of 300 pairs of 512 x 512 masks with SciPy on full images."""
    from lungseg.evaluation.cases import score_classes
    from lungseg.evaluation.metrics import PixelSize
    from lungseg.phantom.drawing import make_slice
    from lungseg.phantom.patient import make_patient
    from lungseg.system.environment import ordered_map

    rng = np.random.default_rng(0)
    pairs = []
    for number in range(30):
        _, truth = make_slice(make_patient(number), 0.1 + 0.8 * rng.random())
        for _ in range(10):
            moved = ndimage.shift(truth, rng.integers(-6, 7, 2), order=0)
            pairs.append((truth, np.asarray(moved)))
    tolerances = [1.0, 2.0]

    def ours(pair: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        return score_classes(*pair, ["background", "lung"], PixelSize(), tolerances)["lung"].metrics

    def all_ours() -> list[dict[str, float]]:
        return list(ordered_map(ours, pairs))

    plain: list[dict[str, float]] = []
    slow = best_of(1, lambda: plain.extend(plain_scores(*pair, tolerances) for pair in pairs))
    fast = best_of(3, all_ours)
    largest = max(
        abs(one[name] - other[name])
        for one, other in zip(all_ours(), plain, strict=True)
        for name in one
        if name != "volume_difference"
    )
    return {
        "plain SciPy on full images, s": slow,
        "lungseg, s": fast,
        "plain SciPy / lungseg": slow / fast,
        "largest difference of a score": largest,
    }


def plain_scores(truth: np.ndarray, guess: np.ndarray, tolerances: list[float]) -> dict[str, float]:
    """Return the scores of one pair of masks by SciPy's distance transform of whole images."""
    t, g = truth > 0, guess > 0
    tp, fp, fn = (t & g).sum(), (~t & g).sum(), (t & ~g).sum()
    scores = {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": (~t & ~g).sum() / (~t).sum(),
    }
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (t, g)]
    to_guess = ndimage.distance_transform_edt(~edges[1])[edges[0]]
    to_truth = ndimage.distance_transform_edt(~edges[0])[edges[1]]
    both = np.concatenate([to_guess, to_truth])
    scores["hd95"] = max(np.percentile(to_guess, 95), np.percentile(to_truth, 95))
    scores["assd"] = both.mean()
    for tolerance in tolerances:
        scores[f"nsd_{tolerance:g}"] = (both <= tolerance).mean()
    width = 0.02 * np.hypot(*t.shape)
    bands = [
        mask & (ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] <= width)
        for mask in (t, g)
    ]
    scores["boundary_iou"] = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    return {name: float(value) for name, value in scores.items()}


def training_and_inference() -> dict[str, float]:
    """Measure the default network at 512 x 512: pipeline, training step, Keras, ONNX Runtime."""
    from lungseg.training.backend import import_tensorflow

    import_tensorflow()
    from lungseg.dataset.slices import Slice
    from lungseg.phantom.dataset import write_phantoms
    from lungseg.training.compiling import compile_model
    from lungseg.training.exporting import export_onnx
    from lungseg.training.pipeline import Pipeline

    with private_import("onnxruntime"):
        import onnxruntime

    config = check_config({"train": {"samples_per_epoch": 48}}, "bench")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slices = [
            Slice(f.image.stem, f.image.stem, "", f.image, f.mask, f.lung_fraction, "", "")
            for f in write_phantoms(folder, patients=8, slices=1)
        ]
        pipeline = Pipeline(config, slices, slices)
        batch = next(iter(pipeline.training(0, 1)))
        read = best_of(2, lambda: [None for _ in pipeline.training(0, 1)]) / 48

        model = compile_model(config, pipeline.steps)
        model.train_on_batch(*batch)
        step = best_of(3, lambda: model.train_on_batch(*batch)) / len(batch[0])
        one = np.asarray(batch[0])[:1]
        model.predict(one, verbose=0)
        keras_time = best_of(5, lambda: model.predict(one, verbose=0))
        export_onnx(model, config, folder)
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        feed = {session.get_inputs()[0].name: one}
        session.run(None, feed)
        onnx_time = best_of(5, lambda: session.run(None, feed))
    return {
        "input pipeline with all augmentation, slices/s": 1 / read,
        "training, slices/s": 1 / step,
        "pipeline / training": step / read,
        "Keras inference, s per slice": keras_time,
        "ONNX Runtime inference, s per slice": onnx_time,
        "Keras / ONNX Runtime": keras_time / onnx_time,
    }


def trained_run(folder: Path) -> None:
    """Train the default network briefly on phantoms, so that it finds lungs, and export it."""
    from lungseg.training.backend import import_tensorflow

    import_tensorflow()
    from lungseg.imaging.pixels import apply_window
    from lungseg.phantom.drawing import make_slice
    from lungseg.phantom.patient import make_patient
    from lungseg.training.compiling import compile_model
    from lungseg.training.exporting import export_onnx

    config = check_config({"train": {"schedule": "constant", "learning_rate": 0.003}}, "bench")
    model = compile_model(config, 1)
    pairs = [make_slice(make_patient(n), 0.1 + 0.8 * (n % 8) / 8) for n in range(24)]
    images = np.stack([apply_window(hu, config.data.window) for hu, _ in pairs])[..., None]
    labels = np.stack([mask for _, mask in pairs])
    model.fit(images.astype(np.float32), labels, batch_size=4, epochs=8, verbose=0)
    export_onnx(model, config, folder)


ORIGINAL = """
import tensorflow
import numpy as np
from pathlib import Path
from lungseg.config.loading import load_config
from lungseg.models import build_model
model = build_model(load_config(Path("configs/original.yaml")))
model.predict(np.zeros((1, 512, 512, 3), "float32"), verbose=0)
"""


def inference() -> dict[str, float]:
    """Measure the process `lungseg infer` on one image and on a volume of 300 slices."""
    import SimpleITK as sitk  # noqa: N813

    from lungseg.imaging.pixels import apply_window, write_png
    from lungseg.phantom.drawing import make_volume
    from lungseg.phantom.patient import make_patient

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained_run(folder)
        slices = np.stack([hu for hu, _ in make_volume(make_patient(0), 60)])[::-1]
        write_png(folder / "slice.png", apply_window(slices[30], (-1000, 400)))
        volume = sitk.GetImageFromArray(np.repeat(slices, 5, axis=0))
        volume.SetSpacing((0.7, 0.7, 1.0))
        sitk.WriteImage(volume, str(folder / "volume.nii.gz"))
        model = str(folder / "model.onnx")

        def infer(source: str) -> float:
            arguments = (model, str(folder / source), "-o", str(folder / "out"), "--overwrite")
            seen = watch([sys.executable, "-m", "lungseg", "infer", "--model", *arguments])
            assert seen.code == 0, seen.said
            return seen.peak_mib

        infer("slice.png")
        one = best_of(5, lambda: infer("slice.png"))
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # with oneDNN the 9 x 9 kernels can take minutes
        original = best_of(2, lambda: shell("-c", ORIGINAL))
        del os.environ["TF_ENABLE_ONEDNN_OPTS"]
        memory: list[float] = []
        seconds = best_of(2, lambda: memory.append(infer("volume.nii.gz")))
        mask = sitk.ReadImage(str(folder / "out" / "volume.nii.gz"))
        lung = float(np.mean(sitk.GetArrayViewFromImage(mask) > 0))
    return {
        "lungseg infer, one 512 x 512 PNG, s": one,
        "import tensorflow and one prediction of the original network, s": original,
        "the second / the first": original / one,
        "volume of 300 slices, s per slice": seconds / 300,
        "volume of 300 slices, peak memory, MiB": max(memory),
        "share of the volume labelled as lung": lung,
    }


def main() -> None:
    """Measure, print and write."""
    from lungseg.system.environment import describe_hardware

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    results = {
        "Start": start_up(),
        "Preparing, peak memory": prepare_memory(),
        "Scoring 300 pairs of 512 x 512 masks, all scores": scoring(),
        "Inference, from the start of the process to the mask on disk": inference(),
        "Default network (resunet), 512 x 512": training_and_inference(),
    }
    hardware = describe_hardware()
    date = datetime.date.today().isoformat()
    lines = [
        "# Benchmarks",
        "",
        f"Measured by `make bench` on {date} with {cores()} cores of {hardware['processor']} and "
        f"Python {platform.python_version()}.",
        "Seconds differ from machine to machine; ratios stay much the same.",
        "",
        "[Networks](networks.md) compares the original system with this one, and the networks with",
        "each other. [How a volume is predicted](explanation.md#how-a-volume-is-predicted)",
        "compares `infer` with what it was before (`python -m scripts.bench.volume`).",
    ]
    for title, values in results.items():
        lines += ["", f"## {title}", "", "| measured | value |", "|---|---|"]
        lines += [f"| {key} | {value:.3g} |" for key, value in values.items()]
    # The comparison with other packages is measured by itself and stays.
    _, mark, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    write_text(PAGE, "\n".join(lines) + "\n\n" + mark + rest)
    write_json(RESULTS, {"date": date, "hardware": hardware, "results": results})
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
