"""Run lungmask's own program without its trained weights. Needs lungmask's environment.

`prepare` writes the weights of its network R231 as initialised, and, for `run`, the labels that the
network is to answer with. `run` calls lungmask's command line. The network does its full work on
each slice, but what it answers is replaced by the phantom's lungs. If its own answer were kept,
lungmask would join thousands of specks of noise, which takes longer than the network.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

# As in lungmask.mask.get_model and lungmask.mask.LMInferer.
NETWORK = {"padding": True, "depth": 5, "up_mode": "upsample", "batch_norm": True}
CLASSES = 3
SIDE = 256


def prepare(image: str, mask: str, folder: Path) -> dict[str, Any]:
    """Write `weights.pth` and `answer.npy`; return the network's size."""
    import torch
    from lungmask.resunet import UNet
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    network = UNet(n_classes=CLASSES, residual=False, **NETWORK)
    torch.save(network.state_dict(), folder / "weights.pth")
    np.save(folder / "answer.npy", lungs_as_it_sees_them(image, mask))
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, SIDE, SIDE))
    return {
        "parameters": sum(each.numel() for each in network.parameters()),
        "gflop": counter.get_total_flops() / 1e9,
    }


def lungs_as_it_sees_them(image: str, mask: str) -> np.ndarray[Any, Any]:
    """Return the lungs `(D, 256, 256)`, cut out and resized as lungmask does with the CT.

    1 is the half of the image on the left, the patient's right; 2 is the other half.
    """
    from lungmask import utils
    from scipy import ndimage

    scan, lungs = (sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in (image, mask))
    _, boxes = utils.preprocess(scan, resolution=[SIDE, SIDE])
    sides = np.where(lungs > 0, 1 + (np.arange(lungs.shape[2]) >= lungs.shape[2] // 2), 0)
    seen = []
    for one, (top, left, bottom, right) in zip(sides, boxes, strict=True):
        cut = one[top:bottom, left:right]
        seen.append(ndimage.zoom(cut, SIDE / np.asarray(cut.shape), order=0))
    return np.asarray(seen, dtype=np.uint8)


def run(answer: Path) -> None:
    """Call lungmask's command line with the rest of the arguments."""
    import lungmask.__main__ as program
    import lungmask.mask as lungmask

    labels = np.load(answer)
    load = lungmask.get_model

    def load_with_answer(*arguments: Any) -> Any:
        network = load(*arguments)
        network.register_forward_hook(Answer(labels))
        return network

    lungmask.get_model = load_with_answer
    program.main()


class Answer:
    """Replace what the network answers, slice after slice, once it has done its work."""

    def __init__(self, labels: np.ndarray[Any, Any]) -> None:
        """Take the labels `(D, H, W)` of the slices in the order in which they come."""
        self.labels, self.position = labels, 0

    def __call__(self, network: Any, inputs: Any, scores: Any) -> Any:
        """Return scores that have their maximum at the labels."""
        import torch

        chosen = torch.as_tensor(self.labels[self.position : self.position + len(scores)])
        self.position += len(scores)
        return torch.nn.functional.one_hot(chosen.long(), CLASSES).permute(0, 3, 1, 2).float()


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "prepare":
        sys.stdout.write(json.dumps(prepare(rest[0], rest[1], Path(rest[2]))) + "\n")
    else:
        sys.argv = ["lungmask", *rest[1:]]
        run(Path(rest[0]))
