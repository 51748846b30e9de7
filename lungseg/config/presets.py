"""The configs that come with lungseg: lung, original and smoke.

Plain data, without pydantic, because the command line's help lists the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Noted:
    """A value with a comment that says more than the key's description in the schema."""

    value: Any
    comment: str


@dataclass(frozen=True)
class Preset:
    """A config to start from.

    Attributes:
        head: what it is, what must be there first, how to run it, and an override as example.
        keys: dotted key -> value or `Noted` value, in the order of the file; None is every key
            with its default.
    """

    head: str
    keys: Mapping[str, Any] | None


LUNG = Preset(
    head="""\
The default: a compact residual U-Net on one grey channel, trained on whole slices.

Needs first:  a folder of images and a folder of masks, paired by file name.
Run:          lungseg prepare -c configs/lung.yaml --images DIR --masks DIR -o data/prepared
              lungseg split   -c configs/lung.yaml
              lungseg train   -c configs/lung.yaml --run runs/lung
              lungseg evaluate -c configs/lung.yaml --run runs/lung
Override:     lungseg train -c configs/lung.yaml -s train.epochs=30 -s train.batch_size=8
""",
    keys=None,
)

ORIGINAL = Preset(
    head="""\
The parameters of the published system: FlexUNet, 125 million parameters, 512 x 512 RGB.

Needs first:  its data set, unpacked as train|valid|test/{images,masks}, or one that split wrote.
              About 6 GB of memory, and days on a CPU.
Run:          lungseg train -c configs/original.yaml --data dataset/Lung --run runs/original
Override:     lungseg inspect -c configs/original.yaml -s model.base_filters=8
""",
    keys={
        "seed": Noted(137, "the original's; it had no effect there"),
        "data.image_size": Noted([512, 512], "the original's image_height and image_width"),
        "data.channels": Noted(3, "the original's image_channels"),
        "data.rgb_map": Noted(
            {"background": [0, 0, 0], "lung": [255, 255, 255]},
            "the original's {(0,0,0): 0, (255,255,255): 1}",
        ),
        "split.fractions": Noted([0.8, 0.15, 0.05], "the original's shares, but by patient"),
        "augment.online": Noted({}, "none: the original writes its copies to disk"),
        "augment.offline.hflip": 0.5,
        "augment.offline.vflip": 0.5,
        "augment.offline.rotate90": 0.3,
        "augment.offline.affine": {"p": 0.5, "rotate": 30, "scale": 0.3, "shift": 0},
        "augment.offline.elastic": {"p": 0.3, "alpha": 60, "sigma": 8},
        "augment.offline.barrel": {"p": 0.3, "limit": 0.3},
        "augment.offline.grid": {"p": 0.3, "limit": 0.3},
        "model.name": Noted("flexunet", "the original's TensorFlowFlexUNet"),
        "model.base_filters": 16,
        "model.base_kernels": [9, 9],
        "model.num_layers": 8,
        "model.dropout_rate": 0.04,
        "model.dilation": [1, 1],
        "model.normalization": False,
        "model.activation": Noted("relu", "the original's default"),
        "model.input_normalize": False,
        "train.run": "runs/original",
        "train.epochs": 100,
        "train.samples_per_epoch": Noted(0, "each slice once"),
        "train.batch_size": 2,
        "train.loss": Noted("categorical_crossentropy", "the original's"),
        "train.metrics": Noted(
            ["dice_coef_multiclass", "lung_dice"], "the original's, and the Dice of the lungs"
        ),
        "train.optimizer": Noted("adam", "the original's"),
        "train.learning_rate": 0.00007,
        "train.clipvalue": 0.4,
        "train.weight_average": Noted(0, "the original keeps the last weights"),
        "train.schedule": Noted("constant", "the reducer lowers the rate"),
        "train.reducer": Noted(
            {"factor": 0.4, "patience": 4},
            "the original's reducer_factor and reducer_patience; the second was misspelt, so 10 "
            "took effect",
        ),
        "train.monitor": Noted("val_loss", "picks the best epoch's model, as in the original"),
        "train.patience": 10,
        "train.epoch_change_images": Noted(6, "the original's num_infer_images"),
    },
)

SMOKE = Preset(
    head="""\
Tiny: a minute or two per command on a small machine, on synthetic CT. CI and `make demo` use it.

Needs first:  lungseg phantom -o demo/raw
Run:          make demo
Override:     lungseg train -c configs/smoke.yaml -s train.epochs=3
""",
    keys={
        "seed": 137,
        "data.images": Noted("demo/raw/images", "what lungseg phantom writes"),
        "data.masks": Noted("demo/raw/masks", "their masks"),
        "data.prepared": "demo/prepared",
        "data.dataset": "demo/dataset",
        "data.image_size": Noted([128, 128], "a sixteenth of the pixels of a real slice"),
        "data.channels": 1,
        "split.fractions": Noted([0.67, 0.16, 0.17], "8, 2 and 2 of the 12 phantom patients"),
        "split.group_regex": Noted(r"^(patient\d+)_", "patient01_slice03 is a slice of patient01"),
        "split.patient_similarity": Noted(0.9, "phantoms resemble each other more than patients"),
        "augment.online.hflip": 0.5,
        "augment.online.affine": {"p": 0.7, "rotate": 10, "scale": 0.1, "shift": 0.05},
        "augment.online.window": {"p": 0.3, "limit": 0.15},
        "augment.online.noise": {"p": 0.3, "limit": 0.03},
        "model.name": Noted("resunet", "the default network, but smaller"),
        "model.base_filters": 8,
        "model.num_layers": 4,
        "model.max_filters": 64,
        "model.stem_stride": Noted(1, "the slices are small already"),
        "model.dropout_rate": Noted(0, "the training is too short to need it"),
        "train.run": "demo/run",
        "train.epochs": Noted(12, "about 5 seconds each"),
        "train.samples_per_epoch": Noted(0, "each slice once"),
        "train.batch_size": 8,
        "train.learning_rate": Noted(0.004, "a small network can take large steps"),
        "train.monitor": "val_lung_dice",
        "train.epoch_change_images": 4,
        "infer.overlay": True,
    },
)

PRESETS = {"lung": LUNG, "original": ORIGINAL, "smoke": SMOKE}
