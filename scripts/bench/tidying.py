"""Measure how long a volume takes without its network: tidying, sides, measures and checks.

A phantom of 60 slices of 512 x 512 is segmented by a network that knows the truth, so that nearly
all of the time is spent on what follows. It is done for one class, and for five: with more classes
each one is tidied by itself. The hash of the masks shows whether a change of the code has changed a
result. Seconds are those of the processor, the least of several tries, because they change less
than the clock's on a shared machine. Prints JSON; writes no file.

Example:
    python -m scripts.bench.tidying
"""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import Config, DataConfig, InferConfig
from lungseg.imaging.volume_files import ct_from_image
from lungseg.imaging.volumes import Ct
from lungseg.inference.predictor import Predictor
from lungseg.inference.volumes import Segmentation, segment_ct
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_volume
from lungseg.phantom.patient import make_patient

SLICES, SIDE, HEIGHT_MM = 60, 512, 280.0
TRIES = 5
LOBES = (
    "left upper lobe",
    "left lower lobe",
    "right upper lobe",
    "right middle lobe",
    "right lower lobe",
)

Array = np.ndarray[Any, Any]
Colours = tuple[int, int, int] | tuple[tuple[int, int, int], ...]


class Known:
    """A network that finds the classes that it is told to."""

    def __init__(self, classes: Array, names: Sequence[str]) -> None:
        """Keep the class of each voxel, `(D, H, W)`."""
        colours: dict[str, Colours] = {
            name: (k, k, k) for k, name in enumerate(("background", *names))
        }
        self.data = DataConfig(image_size=classes.shape[1:], rgb_map=colours)
        self.usual_certainty = None
        self.workers = 1  # because slices are answered in the order in which they come
        self._one_hot, self._classes, self._next = np.eye(len(colours)), classes, 0

    def probabilities(self, slices: Sequence[Array]) -> Array:
        """Return the class probabilities of the next slices; after the last, those of the first."""
        found = self._classes[self._next : self._next + len(slices)]
        self._next = (self._next + len(slices)) % len(self._classes)
        return self._one_hot.astype(np.float32)[found]


def phantom() -> tuple[Ct, Array, Array]:
    """Return a CT, its lungs, and its lobes: each lung divided by planes."""
    pairs = list(make_volume(make_patient(0), SLICES, SIDE))[::-1]
    image = sitk.GetImageFromArray(np.stack([hu for hu, _ in pairs]))
    image.SetSpacing((FIELD_OF_VIEW_MM / SIDE, FIELD_OF_VIEW_MM / SIDE, HEIGHT_MM / SLICES))
    lungs = np.stack([mask for _, mask in pairs])
    z, y, x = np.ogrid[:SLICES, :SIDE, :SIDE]
    height = z / SLICES + 0.5 * (0.5 - y / SIDE)
    left, right = (1 + (height < 0.5)), 3 + (height < 0.6) + (height < 0.35)
    return ct_from_image(image), lungs, lungs * np.where(x >= SIDE // 2, left, right)


def main() -> None:
    """Measure and print."""
    ct, lungs, lobes = phantom()
    found: dict[str, float | str] = {}
    for title, classes, names in (("1 class", lungs, ("lung",)), ("5 classes", lobes, LOBES)):
        network = cast(Predictor, Known(classes.astype(np.uint8), names))
        config = Config(infer=InferConfig(sides=len(names) == 1))
        results: list[Segmentation] = []
        seconds: list[float] = []
        for _ in range(TRIES):
            start = time.process_time()
            results.append(segment_ct(network, ct, config))
            seconds.append(time.process_time() - start)
        found[f"{title}, CPU s"] = round(min(seconds), 3)
        found[f"{title}, hash"] = hashlib.sha256(results[0].mask.tobytes()).hexdigest()[:16]
        found[f"{title}, left and right, mL"] = str(
            [results[0].measured.left.volume_ml, results[0].measured.right.volume_ml]
        )
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
