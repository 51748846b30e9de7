"""Measure a training step of the default network in several ways, and write docs/benchmarks.md.

Each way is a process of its own; the ways take turns. A step is forward, backward and optimizer on
one batch of 512 x 512, without reading. How near it is to what the processor can do is told by a
product of matrices in the same process. With `--before`, a step of another checkout is measured
beside it.

Example:
    git worktree add --detach ../before main
    python -m scripts.bench.training --before ../before
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.files import write_text
from lungseg.system.tables import read_json, write_json
from scripts.bench.write_networks import paragraph
from scripts.bench.write_peers import PAGE, between

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "training.json"
BEGIN, END = "<!-- training -->\n", "<!-- end of training -->\n"
AS_IT_IS, BEFORE = "as it is", "before"
# Name of the way: what differs, and what it is called in the table.
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    AS_IT_IS: ({}, "as it is: batches of 4, float32"),
    BEFORE: ({}, "before: softmax and argmax along the last axis"),
    "batch of 8": ({"batch": 8}, "batches of 8"),
    "batch of 16": ({"batch": 16}, "batches of 16"),
    "fused": ({"fused": True}, "batch normalisation as one operation (TensorFlow's fused one)"),
    "bfloat16": ({"policy": "mixed_bfloat16"}, "bfloat16 (Keras' mixed precision)"),
    "XLA": ({"jit_compile": True}, "compiled with XLA (`train.jit_compile`)"),
    "without oneDNN": ({"onednn": False}, "without oneDNN (`train.onednn=false`)"),
}

# Run by the Python of this process with the packages of a checkout, which may be an older one.
CHILD = """
import json, resource, sys, time
from dataclasses import replace
import numpy as np
from lungseg.config.schema import Config
from lungseg.training.backend import configured, start_tensorflow
given = json.loads(sys.argv[1])
chosen = {key: given[key] for key in ("jit_compile", "onednn") if key in given}
execution = replace(configured(Config()), **chosen)
tf = start_tensorflow(execution)
import keras
if "policy" in given:
    keras.mixed_precision.set_global_policy(given["policy"])
if given.get("fused"):
    from lungseg.models import blocks

    class Fused(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            if not training:
                return super().call(inputs, training, mask)
            found, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta),
                epsilon=self.epsilon, is_training=True)
            for kept, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
                kept.assign(kept * self.momentum + new * (1 - self.momentum))
            return found

    blocks.layers.BatchNormalization = Fused
from lungseg.training.compiling import compile_model
batch = given.get("batch", 4)
model = compile_model(Config(), 50, execution)
chance = np.random.default_rng(0)
images = chance.uniform(0, 255, (batch, 512, 512, 1)).astype(np.float32)
labels = (chance.random((batch, 512, 512)) > 0.8).astype(np.uint8)
data = tf.data.Dataset.from_tensors((images, labels)).repeat().prefetch(2)
model.fit(data, steps_per_epoch=4, verbose=0)
steps = max(2, 48 // batch)
best = None
for _ in range(3):
    start, used = time.perf_counter(), time.process_time()
    model.fit(data, steps_per_epoch=steps, verbose=0)
    one = (time.perf_counter() - start, time.process_time() - used)
    best = min(best or one, one)
side = 2048
factor = tf.constant(chance.random((side, side)).astype(np.float32))
product = tf.function(lambda: tf.matmul(factor, factor))
product()
fastest = 9e9
for _ in range(5):
    start = time.perf_counter()
    product().numpy()
    fastest = min(fastest, time.perf_counter() - start)
print(json.dumps({
    "seconds": best[0] / (steps * batch),
    "cpu_seconds": best[1] / (steps * batch),
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "matmul_gflops": 2 * side**3 / fastest / 1e9,
}))
"""


def measure(way: str, checkout: Path) -> dict[str, float]:
    """Return seconds and processor seconds a slice, peak memory, and the speed of matmul."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(WAYS[way][0])],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def forward_gflop() -> float:
    """Return 10^9 floating-point operations of one slice, forward alone."""
    from lungseg.config.schema import Config
    from lungseg.verbs.inspect import inspect

    return inspect(Config()).gflop


def best(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the turn with the least processor seconds, which wait for nobody."""
    return min(turns, key=lambda turn: turn["cpu_seconds"])


def counted_turns(turns: dict[str, list[dict[str, float]]]) -> str:
    """Return how many turns each way had, in words."""
    most = max(map(len, turns.values()))
    return "one turn" if most == 1 else f"{most} turns, one way after the other"


def section(found: dict[str, Any]) -> str:
    """Return the section of the page."""
    hardware, turns = found["hardware"], found["turns"]
    ours = best(turns[AS_IT_IS])
    limit = max(turn["matmul_gflops"] for each in turns.values() for turn in each)
    needed = 3 * found["forward_gflop"]
    shortest = min(turn["seconds"] for turn in turns[AS_IT_IS])
    lines = [
        "| a step | slices/s | processor, s a slice | times as it is | peak memory, MiB |",
        "|---|---|---|---|---|",
    ]
    for way, (_, label) in WAYS.items():
        if way in turns:
            one = best(turns[way])
            fastest = 1 / min(turn["seconds"] for turn in turns[way])
            ratio = one["cpu_seconds"] / ours["cpu_seconds"]
            figures = f"{fastest:.1f} | {one['cpu_seconds']:.3f} | {ratio:.2f}"
            lines.append(f"| {label} | {figures} | {one['peak_mib']:,.0f} |")
    text = [
        "## A training step",
        paragraph(
            f"Measured by `python -m scripts.bench.training` on {found['date']} with "
            f"{hardware['cores']} cores of {hardware['processor']} and TensorFlow "
            f"{found['software']['tensorflow']}: the default network, 512 x 512, without reading. "
            f"Each way had {counted_turns(turns)}. The seconds of the processor compare them best, "
            "because they leave out the waiting for other work on the machine."
        ),
        "\n".join(lines),
        paragraph(
            f"**How near to the limit.** The network needs {found['forward_gflop']:.2f} GFLOP a "
            f"slice forward, and about three times that with the gradients, {needed:.1f} GFLOP. A "
            f"product of two large matrices reaches {limit:.0f} GFLOP/s here, so no step can take "
            f"less than {1000 * needed / limit:.0f} ms a slice. It takes {1000 * shortest:.0f} ms, "
            f"which is {100 * needed / limit / shortest:.0f}% of the limit. The rest goes into "
            "operations that move data and compute little: batch normalisation, sums, the "
            "enlargement to 512 x 512, the loss on all pixels."
        ),
        paragraph(
            "**What was kept.** The loss by whole planes of pixels. Larger batches gain a sixth at "
            "most, and leave fewer steps for the same slices. Fused batch normalisation gains "
            "less than a tenth, and would make a layer of our own part of every saved network. "
            "bfloat16 and XLA gain nothing for this network on this processor. Reading is not the "
            "limit: the input pipeline with all augmentation is several times as fast as training "
            "(above), so a cache of decoded slices would gain nothing either."
        ),
    ]
    return "\n\n".join(text) + "\n"


def main(
    before: Annotated[Path | None, typer.Option(help="Checkout to compare with.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way.")] = 3,
) -> None:
    """Measure all ways in turns, keep the results, and write the page."""
    ways = [way for way in WAYS if before is not None or way != BEFORE]
    turns: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            checkout = before.resolve() if way == BEFORE and before is not None else ROOT
            turns[way].append(measure(way, checkout))
            typer.echo(f"{number + 1}/{rounds} {way}: {turns[way][-1]}")
    found = {
        "date": datetime.date.today().isoformat(),
        "hardware": describe_hardware(),
        "software": describe_software(),
        "forward_gflop": forward_gflop(),
        "turns": turns,
    }
    write_json(RESULTS, found)
    write_page()


def write_page() -> None:
    """Write the section from the results."""
    new = section(read_json(RESULTS))
    write_text(PAGE, between(PAGE.read_text(encoding="utf-8"), new, BEGIN, END))


if __name__ == "__main__":
    typer.run(main)
