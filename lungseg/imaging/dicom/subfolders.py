"""Folders with DICOM files below a folder that holds none, for an error message."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from lungseg.imaging.dicom.headers import has_magic
from lungseg.system.files import natural_key
from lungseg.system.wording import some_of

MAX_SEARCHED = 1000  # folders; a person may have given the whole disk


def where_dicom_is(folder: Path) -> str:
    """Return a sentence that names the folders in a folder with DICOM files, empty without any.

    Hidden folders and links to folders are not looked into.
    """
    found = []
    for place, folders, files in itertools.islice(os.walk(folder), MAX_SEARCHED):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_key)
        if place != str(folder) and any(_is_dicom(Path(place, name)) for name in files):
            found.append(Path(place).relative_to(folder).as_posix())
    if not found:
        return ""
    what = "that folder" if len(found) == 1 else "one of these"
    return f" There are DICOM files in {some_of(found)}: read {what}."


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, and not the index of a CD."""
    try:
        return path.is_file() and path.name.upper() != "DICOMDIR" and has_magic(path)
    except OSError:
        return False
