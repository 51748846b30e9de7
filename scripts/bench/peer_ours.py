"""Time training steps of the default network, as `peer_nnunet.py` times those of nnU-Net."""

import json
import sys
import time
from typing import Any

import numpy as np

from lungseg.config.loading import check_config
from lungseg.system.environment import cores
from lungseg.training.backend import Execution, start_tensorflow

STEPS = 4


def train() -> dict[str, Any]:
    """Time training steps on one batch of noise."""
    config = check_config({}, "bench")
    execution = Execution(cores(), True, False, False)
    start_tensorflow(execution)
    from lungseg.training.compiling import compile_model

    model = compile_model(config, 1, execution)
    rng = np.random.default_rng(0)
    shape = (config.train.batch_size, *config.data.image_size)
    images = rng.uniform(0, 255, (*shape, 1)).astype(np.float32)
    labels = rng.integers(0, 2, shape).astype(np.uint8)
    model.train_on_batch(images, labels)
    found = []
    for _ in range(STEPS):
        start, cpu = time.perf_counter(), time.process_time()
        model.train_on_batch(images, labels)
        found.append((time.perf_counter() - start, time.process_time() - cpu))
    seconds, cpu_seconds = min(found)
    slices = len(images)
    return {"seconds": seconds / slices, "cpu_seconds": cpu_seconds / slices, "batch": slices}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(train()) + "\n")
