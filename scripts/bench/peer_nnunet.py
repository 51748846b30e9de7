"""Plan nnU-Net's 2-D network on phantoms, save it untrained, time its training.

It needs nnU-Net's environment. `prepare` lays phantoms out as nnU-Net wants them, lets its own
planner choose the network, and saves a checkpoint of its own trainer as initialised. So
`nnUNetv2_predict_from_modelfolder` runs as after a training. `train` times steps of that trainer.
The environment variables `nnUNet_raw`, `nnUNet_preprocessed` and `nnUNet_results` name its folders.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DATASET = "Dataset001_Phantoms"
STEPS = 2


def prepare(phantoms: Path) -> dict[str, Any]:
    """Plan, save the network as initialised, and return its size and the plan."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    preprocessed = folder_of("preprocessed")
    if not (preprocessed / "nnUNetPlans_2d").exists():
        plan(phantoms)
    trainer = new_trainer()
    # Which axes are mirrored is part of the checkpoint. The trainer knows it from here on.
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    folder = Path(trainer.output_folder)
    trainer.save_checkpoint(str(folder / "checkpoint_final.pth"))
    shutil.copy(preprocessed / "nnUNetPlans.json", folder.parent / "plans.json")
    shutil.copy(preprocessed / "dataset.json", folder.parent / "dataset.json")
    network, chosen = trainer.network.eval(), trainer.configuration_manager
    trainer.set_deep_supervision_enabled(False)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, *chosen.patch_size))
    return {
        "folder": str(folder.parent),
        "parameters": sum(each.numel() for each in network.parameters()),
        "gflop": counter.get_total_flops() / 1e9,
        "patch": [int(side) for side in chosen.patch_size],
        "batch": int(chosen.batch_size),
        "passes_with_mirroring": 2 ** len(trainer.inference_allowed_mirroring_axes),
    }


def folder_of(name: str) -> Path:
    """Return the data set's folder, `raw` or `preprocessed`."""
    return Path(os.environ[f"nnUNet_{name}"]) / DATASET


def plan(phantoms: Path) -> None:
    """Let nnU-Net's own planner choose the 2-D network for phantoms, and prepare them."""
    lay_out(phantoms, folder_of("raw"))
    program = Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess"
    command = [str(program), "-d", "1", "-c", "2d", "-np", "1", "-npfp", "1"]
    subprocess.run(command, check=True, stdout=sys.stderr)


def lay_out(phantoms: Path, dataset: Path) -> None:
    """Copy `images/` and `masks/` into a data set of nnU-Net's."""
    images = sorted((phantoms / "images").glob("*.nii.gz"))
    for number, image in enumerate(images):
        for source, to in (
            (image, dataset / "imagesTr" / f"case_{number:03}_0000.nii.gz"),
            (phantoms / "masks" / image.name, dataset / "labelsTr" / f"case_{number:03}.nii.gz"),
        ):
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)
    what = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lung": 1},
        "numTraining": len(images),
        "file_ending": ".nii.gz",
    }
    (dataset / "dataset.json").write_text(json.dumps(what), encoding="utf-8")


def new_trainer() -> Any:
    """Return nnU-Net's own trainer with its network as initialised, on the CPU."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    trainer = get_trainer_from_args("1", "2d", "all", device=torch.device("cpu"))
    trainer.initialize()
    return trainer


def train() -> dict[str, Any]:
    """Time training steps on one batch of its own loader; the loader itself is not timed."""
    trainer = new_trainer()
    loader, held_back = trainer.get_dataloaders()
    batch = next(loader)
    for each in (loader, held_back):
        if hasattr(each, "_finish"):
            each._finish()  # its processes would go on drawing batches, on the same cores
    trainer.network.train()
    trainer.train_step(batch)
    found = []
    for _ in range(STEPS):
        start, cpu = time.perf_counter(), time.process_time()
        trainer.train_step(batch)
        found.append((time.perf_counter() - start, time.process_time() - cpu))
    slices = len(batch["data"])
    seconds, cpu_seconds = min(found)
    return {"seconds": seconds / slices, "cpu_seconds": cpu_seconds / slices, "batch": slices}


if __name__ == "__main__":
    answer = prepare(Path(sys.argv[2])) if sys.argv[1] == "prepare" else train()
    sys.stdout.write(json.dumps(answer) + "\n")
