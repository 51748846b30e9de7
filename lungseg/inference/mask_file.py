"""`infer` with a file as output: one mask, at the path that a person chose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.imaging.folders import MASK_SUFFIXES, Input, is_image, volume_suffix
from lungseg.system import console

# What is written beside masks in a folder.
EXTRAS = ("overlay", "video", "probabilities", "dicom_seg", "rtstruct")


def names_a_file(output: Path) -> bool:
    """Whether an output is a mask file, because it is no folder and has the suffix of a file."""
    return not output.is_dir() and (is_image(output) or volume_suffix(output) is not None)


def input_for(items: Sequence[Input], output: Path) -> Input:
    """Return the one input, with name and suffix of the mask file.

    Raises:
        UsageError: if there are several, or the file has not the format of its mask.
    """
    if len(items) > 1:
        raise UsageError(
            f"{output}: is one file, but there are {len(items)} inputs. Give a folder for their "
            "masks."
        )
    target = Path(os.path.realpath(output))
    wanted = MASK_SUFFIXES if items[0].is_volume else (".png",)
    suffix = volume_suffix(target) or target.suffix.lower()
    if suffix not in wanted:
        kind = "a CT volume" if items[0].is_volume else "an image"
        raise UsageError(
            f"{output}: the mask of {kind} is written as {', '.join(wanted)}. Choose another name, "
            "or give a folder."
        )
    stem = target.name[: -len(suffix)]
    return replace(items[0], name=stem, suffix=target.name[len(stem) :])


def mask_alone(config: Config) -> Config:
    """Return the config without what is written beside masks in a folder, and say so."""
    infer = config.infer.model_copy(update={"gallery": "none"})  # by default it is written
    asked = [f"infer.{name}" for name in EXTRAS if getattr(config.infer, name)]
    if not asked:
        return config.model_copy(update={"infer": infer})
    console.warn(f"the output is one file, so {', '.join(asked)} have no effect. Give a folder.")
    infer = infer.model_copy(update=dict.fromkeys(EXTRAS, False))
    return config.model_copy(update={"infer": infer})
