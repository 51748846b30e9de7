"""The slices that a run is scored on: from which folder, whose patients, and where results go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lungseg.config.loading import load_config
from lungseg.config.schema import Config
from lungseg.dataset.appearance import Appearance, read_appearance
from lungseg.dataset.patients import assign_patients, names_patients
from lungseg.dataset.reading import fold_folders, read_layout, read_manifest, read_part
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.naming import FILES, name_patients, rule_of
from lungseg.system.files import existing_folder
from lungseg.system.shipped import is_shipped, name_of
from lungseg.system.tables import read_csv

LIKENESS = "likeness"


def stored_config(run: Path) -> Path | None:
    """Return the config of a run, or of its first fold; None if it has none.

    That of the shipped network is about the data of its developers, so it counts as none.
    """
    if is_shipped(run):
        return None
    paths = [folder / "config.yaml" for folder in fold_folders(run) or [run]]
    return next((path for path in paths if path.exists()), None)


def datasets_of(run: Path) -> list[Path]:
    """Return the data set that a run was trained on, by its `config.yaml`.

    For a run of folds it is the folder of folds, followed by its folds. The list is empty if the
    run has no config, as a network that was copied alone, or only a relative path, as the shipped
    one.
    """
    folds = fold_folders(run)
    stored = [folder / "config.yaml" for folder in folds or [run]]
    paths = [load_config(path).data.dataset for path in stored if path.exists()]
    paths = [path for path in paths if path.is_absolute()]
    return [paths[0].parent, *paths] if folds and paths else paths


def is_of_run(data: Path, run: Path) -> bool:
    """Whether a folder is the data set that a run was trained on, or lies in it."""
    real = Path(os.path.realpath(data))
    return any(real.is_relative_to(os.path.realpath(own)) for own in datasets_of(run))


def choose_dataset(run: Path, config: Config, given: Path | None) -> Path:
    """Return the folder to score a run on: `--data`, or the data set it was trained on.

    The config's `data.dataset` is often a path relative to the current folder, so it may name
    another project's slices. It is used only if the run does not say where its own are.

    Raises:
        UsageError: if the folder does not exist, or config and run name different ones.
    """
    if given is not None:
        return existing_folder(given, "slices", "--data")
    own = datasets_of(run)
    named = config.data.dataset if "dataset" in config.data.model_fields_set else None
    if named is not None and not own:
        return existing_folder(named, "slices", "data.dataset")
    if not own:
        raise UsageError(
            f"{name_of(run)}: no config.yaml names its data set here: name one by --data."
        )
    if named is not None and os.path.realpath(named) not in map(os.path.realpath, own):
        raise UsageError(
            f"{named}: the config names this data set, but {run} was trained on {own[0]}. Choose "
            "one with --data."
        )
    return existing_folder(own[0], "slices", f"of {run}; if it was moved, name it by --data")


@dataclass(frozen=True)
class Source:
    """Slices to score.

    Attributes:
        part: name of the part, or `all` for a folder without parts.
        parts: the slices of each part.
        patients_from: what named the patients of a folder without parts: as in `naming`, or
            `likeness` if slices that look alike count as one patient's.
        appearance: how the slices were made, if it is known.
    """

    part: str
    parts: dict[str, list[Slice]]
    patients_from: str | None
    appearance: Appearance | None

    @property
    def slices(self) -> list[Slice]:
        """The slices to score."""
        return self.parts[self.part]


def read_source(folder: Path, config: Config) -> Source:
    """Read the slices to score.

    Args:
        folder: a data set, of which `evaluate.part` is enough; what `prepare` wrote; or a folder
            with `images` and `masks`.
        config: sections `data`, `split` and `evaluate` are used.

    Raises:
        UsageError: if a part is asked of a folder without parts, or a name has no patient.
        DataError: if the folder is none of these, or holds no usable pair.
    """
    part = config.evaluate.part
    if (folder / "split.csv").exists() or any((folder / p / "images").is_dir() for p in PARTS):
        source = Source(
            part, read_layout(folder, config, compared=[part]), None, read_appearance(folder)
        )
    else:
        if part != "test":
            raise UsageError(
                f"{folder}: has no parts, so it is scored whole. Leave out --part (evaluate.part)."
            )
        source = _read_whole(folder, config)
    if not source.slices:
        where = folder if source.part == "all" else folder / part
        raise DataError(where, "holds no usable pair of image and mask.")
    return source


def _read_whole(folder: Path, config: Config) -> Source:
    """Read a folder without parts: prepared slices, or images and masks."""
    if (folder / "manifest.csv").exists():
        slices = [s for s in read_manifest(folder, config.data) if not s.is_copy]
        appearance, listed = read_appearance(folder), "manifest.csv"
    elif (folder / "images").is_dir() and (folder / "masks").is_dir():
        slices = read_part(folder, config)
        appearance, listed = read_appearance(folder.parent), "split.csv"
        named = name_patients({s.case: s.mask for s in slices}, config) if slices else None
        known = named.patients if named and named.source != FILES else {}
        slices = [replace(s, group=known.get(s.case, "")) for s in slices]
    else:
        raise DataError(
            folder,
            "expected test/images and test/masks (from lungseg split), manifest.csv (from lungseg "
            "prepare), or images and masks.",
        )
    origin = listed
    if names_patients(config.split):
        origin = rule_of(config.split)
    elif not all(s.group for s in slices):
        origin = LIKENESS
    return Source("all", {"all": assign_patients(slices, config.split)[0]}, origin, appearance)


def results_folder(run: Path, data: Path, scored: Sequence[tuple[Path | None, set[str]]]) -> Path:
    """Return the folder for the results if no other is given.

    The run folder holds the report of the test part that the run lists. Other slices get a folder
    in it: `evaluation_valid`, `evaluation_train`, or one with the name and a hash of other data.

    Args:
        run: the run folder.
        data: the folder of the slices.
        scored: for each network its run folder, or None for several that predict together; and
            the hashes of the slices that it is scored on.
    """
    for part in reversed(PARTS):
        if all(_is_listed(folder, part, hashes) for folder, hashes in scored):
            return run if part == "test" else run / f"evaluation_{part}"
    everything = sorted(each for _, hashes in scored for each in hashes)
    digest = hashlib.sha256("".join(everything).encode()).hexdigest()[:8]
    return run / f"evaluation_{data.resolve().name}_{digest}"


def _is_listed(run: Path | None, part: str, hashes: set[str]) -> bool:
    """Whether slices are the part of the data set that a run lists."""
    if run is None or not (run / "data.csv").exists():
        return False
    rows = read_csv(run / "data.csv", ("part", "sha256"))
    listed = {row["sha256"] for row in rows if row["part"] == part}
    # A run may have been trained on more slices than those of its data set (`data.train_only`).
    return hashes <= listed if part == "train" else hashes == listed
