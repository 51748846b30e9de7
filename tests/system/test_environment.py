"""What importing this package leaves alone, and extras that are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lungseg.errors import UsageError
from lungseg.system.environment import require

# The settings of the process that an image library or this package might change.
SETTINGS = """
import os, sys, warnings
os.environ.pop("NO_ALBUMENTATIONS_UPDATE", None)
import cv2, PIL.Image, SimpleITK
def settings():
    return (dict(os.environ), list(warnings.filters),
            SimpleITK.ProcessObject.GetGlobalWarningDisplay())
SimpleITK.ProcessObject.SetGlobalWarningDisplay(True)
before = settings()
"""
IMPORTS = """
import lungseg.dataset.augmentation, lungseg.dataset.writing, lungseg.imaging.volume_files
import lungseg.imaging.pixels, lungseg.verbs.prepare, lungseg.verbs.split
assert "albumentations" not in sys.modules
"""
READS = """
import tempfile
from pathlib import Path
import numpy as np
from lungseg.imaging.dicom.series import series_in
from lungseg.imaging.pixels import read_pixels, write_png
folder = Path(tempfile.mkdtemp())
write_png(folder / "a.png", np.zeros((8, 8), np.uint8))
read_pixels(folder / "a.png")
assert not series_in(folder)
"""
AUGMENTS = """
import socket
asked = []
socket.getaddrinfo = lambda *address, **_: asked.append(address) or []
from lungseg.config.training import TransformsConfig
from lungseg.dataset.augmentation import Augmenter
lungs = np.zeros((8, 8), np.uint8)
Augmenter(TransformsConfig.model_validate({"hflip": 1.0}))(lungs, lungs, 1)
assert "albumentations" in sys.modules
assert not asked, asked
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_importing_changes_no_setting_of_the_process() -> None:
    run(f"{SETTINGS}{IMPORTS}\nassert settings() == before")


def test_reading_and_augmenting_change_none_either_and_ask_no_network() -> None:
    environment_alike = "assert settings()[0] == before[0]"  # albumentations sets filters itself
    run(f"{SETTINGS}{IMPORTS}{READS}\nassert settings() == before\n{AUGMENTS}\n{environment_alike}")


def test_a_package_that_an_extra_brings_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(UsageError) as caught:
        require("no_such_package", extra="dicom", purpose="infer.dicom_seg")
    assert str(caught.value) == (
        'infer.dicom_seg needs no_such_package: pip install "lungseg[dicom]".'
    )
    assert require("json", extra="dicom", purpose="x").dumps([1]) == "[1]"
