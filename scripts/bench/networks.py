"""Measure the networks' speed: the original as shipped against ours, and every network.

Each is measured in a separate process, one after the other: speed of training and inference at
512 x 512, and peak memory. Networks that are in results/networks.json already are not measured
again. `python -m scripts.bench.write_networks` writes the pages from it.

Example:
    python -m scripts.bench.networks --anew     measure everything again
"""

import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
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
        if "infer_s" in found.get(name, {}):
            continue
        if name == "flexunet":
            found[name] = known["original"]["original, ours"]
        else:
            config = check_config({"model": {"name": name}}, "bench")
            with tempfile.TemporaryDirectory() as folder:
                found[name] = ask(config, OURS, "train", "size", "export", folder=folder)
                found[name] |= onnx_speed(Path(folder)) | {"date": _today()}
        write_json(RESULTS, known)


def main() -> None:
    """Measure what results/networks.json lacks; with `--anew`, everything."""
    known: dict[str, Any] = {}
    if RESULTS.exists() and "--anew" not in sys.argv:
        known = read_json(RESULTS)
    original(known)
    networks(known)
    known |= {"hardware": describe_hardware(), "software": describe_software()}
    write_json(RESULTS, known)


def _today() -> str:
    return datetime.date.today().isoformat()


if __name__ == "__main__":
    if "--child" in sys.argv:
        answer = child(json.load(sys.stdin))
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        main()
