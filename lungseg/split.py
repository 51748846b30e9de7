"""`lungseg split`: slices -> train, valid and test, by patient, with a leakage audit.

`DATASET` holds `train|valid|test/{images,masks}` and `split.csv`; with folds, `fold_1`, `fold_2`
and so on, each of which is such a data set.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.config import Config, SplitConfig
from lungseg.errors import DataError, UsageError
from lungseg.files import existing_folder, natural_key, read_csv, staged_folder, write_csv
from lungseg.images import pair_folders, read_labels, read_slice
from lungseg.similarity import most_similar, perceptual_hash, similar_pairs
from lungseg.workers import ordered_map

PARTS = ("train", "valid", "test")
SPLIT_COLUMNS = (
    "part", "case", "source", "group", "image", "mask", "lung_fraction", "sha256", "phash",
)  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """One prepared slice and where it belongs.

    Attributes:
        case: its name, the stem of its files.
        source: the case it is an augmented copy of; its own name for an original.
        group: the patient, or what stands for one; a group is never divided.
        image: its image file.
        mask: its mask file.
        lung_fraction: lung area as a share of the slice.
        sha256: hash of its pixels.
        phash: perceptual hash.
    """

    case: str
    source: str
    group: str
    image: Path
    mask: Path
    lung_fraction: float
    sha256: str
    phash: str

    @property
    def is_copy(self) -> bool:
        """Whether it is an augmented copy."""
        return self.case != self.source


@dataclass(frozen=True)
class Likeness:
    """The most similar pair of slices across two parts."""

    parts: tuple[str, str]
    cases: tuple[str, str]
    similarity: float


@dataclass(frozen=True)
class SplitResult:
    """What `split` made.

    Attributes:
        folder: the data set.
        parts: part name to its slices.
        audit: the most similar pair across each two parts.
        merged: groups that were put together because slices in them look alike.
    """

    folder: Path
    parts: Mapping[str, list[Slice]]
    audit: list[Likeness]
    merged: list[list[str]]


def split(
    config: Config, source: Path | None, output: Path, overwrite: bool = False
) -> list[SplitResult]:
    """Share the slices out among train, valid and test, no group on two sides.

    Args:
        config: section `split` and the seed are used.
        source: what `prepare` wrote, or a data set already in `train|valid|test` layout, whose
            parts are kept as they are and audited.
        output: the data set to write; appears whole, or not at all.
        overwrite: replace an `output` that is not empty.

    Returns:
        One result, or one a fold.

    Raises:
        UsageError: for a missing folder, an `output` that holds something, or grouping that does
            not fit the names.
        DataError: for an unusable manifest, too few groups, or a leak.
    """
    source = existing_folder(source, "prepared slices", "--input")
    plans: dict[str, tuple[dict[str, list[Slice]], list[list[str]]]]
    if is_layout(source):
        plans = {"": (read_layout(source, config), [])}
    else:
        slices, merged = _grouped(read_manifest(source), config.split)
        plans = {name: (parts, merged) for name, parts in _plan(slices, config).items()}
    results = []
    with staged_folder(output, overwrite, (source,)) as staged:
        for name, (parts, merged) in plans.items():
            audit = leakage(parts)
            report_leaks(audit, config.split)
            _write_dataset(staged / name, parts)
            results.append(SplitResult(output / name, parts, audit, merged))
    return results


def is_layout(folder: Path) -> bool:
    """Whether a folder is a data set in the `train|valid|test/{images,masks}` layout."""
    return (folder / "train" / "images").is_dir() and (folder / "train" / "masks").is_dir()


def read_manifest(folder: Path) -> list[Slice]:
    """Read the slices `prepare` wrote.

    Raises:
        DataError: for a missing or incomplete manifest, or one that names missing files.
    """
    path = folder / "manifest.csv"
    if not path.exists():
        raise DataError(
            f"{folder}: holds neither manifest.csv (from lungseg prepare) nor train/images and "
            "train/masks."
        )
    rows = read_csv(path, ("case", "source", "image", "mask", "lung_fraction", "sha256", "phash"))
    slices = []
    for row in rows:
        image, mask = folder / row["image"], folder / row["mask"]
        for file in (image, mask):
            if not file.exists():
                raise DataError(f"{file}: named in {path}, but there is no such file.")
        try:
            fraction = float(row["lung_fraction"])
        except ValueError:
            raise DataError(
                f"{path}: lung_fraction of {row['case']} is {row['lung_fraction']!r}, no number."
            ) from None
        slices.append(
            Slice(
                row["case"],
                row["source"],
                row.get("group") or "",
                image,
                mask,
                fraction,
                row["sha256"],
                row["phash"],
            )
        )
    if not slices:
        raise DataError(f"{path}: lists no slice.")
    return slices


def read_layout(folder: Path, config: Config) -> dict[str, list[Slice]]:
    """Read a data set in the `train|valid|test` layout, with `split.csv` or without.

    Without it (the original's published data, say) each slice is hashed here, and its group comes
    from `split.group_regex`, or is the slice itself.
    """
    listing = folder / "split.csv"
    if listing.exists():
        parts: dict[str, list[Slice]] = {part: [] for part in PARTS}
        for row in read_csv(listing, SPLIT_COLUMNS):
            parts.setdefault(row["part"], []).append(
                Slice(
                    row["case"],
                    row["source"],
                    row["group"],
                    folder / row["image"],
                    folder / row["mask"],
                    float(row["lung_fraction"]),
                    row["sha256"],
                    row["phash"],
                )
            )
        missing = [s.image for part in parts.values() for s in part if not s.image.exists()]
        if missing:
            raise DataError(f"{missing[0]}: named in {listing}, but there is no such file.")
        return parts
    parts = {}
    for part in PARTS:
        images, masks = folder / part / "images", folder / part / "masks"
        if not images.is_dir() or not masks.is_dir():
            parts[part] = []
            continue
        pairs, unpaired = pair_folders(images, masks)
        for path, finding in unpaired:
            console.warn(f"{path}: {finding.code}: {finding.detail}")

        def describe(pair: tuple[str, Path, Path]) -> Slice:
            case, image, mask = pair
            pixels, labels = read_slice(image, config.data), read_labels(mask, config.data)
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            lung = float((labels > 0).mean())
            return Slice(case, case, case, image, mask, lung, digest, perceptual_hash(pixels))

        work = ordered_map(describe, [(p.case, p.image, p.mask) for p in pairs])
        slices = list(console.track(work, len(pairs), f"read {part}"))
        if config.split.group_regex:
            slices, _ = _grouped(slices, config.split)
        parts[part] = slices
    return parts


def _grouped(slices: Sequence[Slice], split: SplitConfig) -> tuple[list[Slice], list[list[str]]]:
    """Give each slice its group: from the CSV, the regex, the manifest, or by likeness."""
    originals = [s for s in slices if not s.is_copy]
    merged: list[list[str]] = []
    if split.group_csv is not None:
        table = {
            row["case"]: row[split.group_column]
            for row in read_csv(split.group_csv, ("case", split.group_column))
        }
        unknown = [s.case for s in originals if s.case not in table]
        if unknown:
            raise UsageError(
                f"{split.group_csv}: names no group for {len(unknown)} of {len(originals)} cases, "
                f"the first is {unknown[0]!r}."
            )
        groups = {s.case: table[s.case] for s in originals}
    elif split.group_regex is not None:
        pattern = re.compile(split.group_regex)
        groups = {}
        for s in originals:
            match = pattern.search(s.case)
            if not match:
                raise UsageError(
                    f"split.group_regex {split.group_regex!r} does not match the case {s.case!r}; "
                    "it must match every name."
                )
            groups[s.case] = match.group(1)
    elif all(s.group for s in originals):
        groups = {s.case: s.group for s in originals}
    else:
        groups, merged = _groups_by_likeness(originals, split)
    return [replace(s, group=groups[s.source]) for s in slices], merged


def _groups_by_likeness(
    originals: Sequence[Slice], split: SplitConfig
) -> tuple[dict[str, str], list[list[str]]]:
    """Put together slices that may be one patient's.

    Two slices are joined if they are as alike as neighbours of one volume, or somewhat alike and
    close in number. Chains of such pairs make one group, named after its first slice.
    """
    leader = list(range(len(originals)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    numbers = [_trailing_number(s.case) for s in originals]
    threshold = min(split.neighbour_similarity, split.leak_similarity)
    for i, j, similarity in similar_pairs([s.phash for s in originals], threshold):
        (stem_i, number_i), (stem_j, number_j) = numbers[i], numbers[j]
        close = (
            stem_i == stem_j
            and number_i is not None
            and number_j is not None
            and abs(number_i - number_j) <= split.neighbour_gap
        )
        if similarity >= split.leak_similarity or close:
            leader[max(find(i), find(j))] = min(find(i), find(j))
    members: dict[int, list[str]] = defaultdict(list)
    for index, s in enumerate(originals):
        members[find(index)].append(s.case)
    groups = {case: cases[0] for cases in members.values() for case in cases}
    return groups, [cases for cases in members.values() if len(cases) > 1]


def _trailing_number(case: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.*?)(\d+)\D*", case)
    return (match.group(1), int(match.group(2))) if match else (case, None)


def _plan(slices: Sequence[Slice], config: Config) -> dict[str, dict[str, list[Slice]]]:
    """Return folder name (`""` or `fold_k`) to parts to slices; copies go to train alone."""
    groups: dict[str, list[Slice]] = defaultdict(list)
    for s in sorted(slices, key=lambda s: natural_key(s.case)):
        groups[s.group].append(s)
    names = list(groups)
    fractions = config.split.fractions
    if not config.split.folds:
        shares = assign_groups(groups, names, fractions, config.seed)
        return {"": _fill(groups, dict(zip(names, (PARTS[i] for i in shares), strict=True)))}
    folds = config.split.folds
    held_out = assign_groups(groups, names, [1 / folds] * folds, config.seed)
    plans = {}
    for fold in range(folds):
        rest = [name for name, k in zip(names, held_out, strict=True) if k != fold]
        shares = assign_groups(groups, rest, fractions[:2], config.seed + fold)
        part_of = dict(zip(rest, (PARTS[i] for i in shares), strict=True))
        plans[f"fold_{fold + 1}"] = _fill(
            groups, {name: part_of.get(name, "test") for name in names}
        )
    return plans


def _fill(groups: Mapping[str, list[Slice]], part_of: Mapping[str, str]) -> dict[str, list[Slice]]:
    parts: dict[str, list[Slice]] = {part: [] for part in PARTS}
    for name, members in groups.items():
        part = part_of[name]
        parts[part] += [s for s in members if part == "train" or not s.is_copy]
    return parts


def assign_groups(
    groups: Mapping[str, Sequence[Slice]],
    names: Sequence[str],
    fractions: Sequence[float],
    seed: int,
) -> list[int]:
    """Assign whole groups to parts so that sizes and lung areas match.

    Of many seeded random assignments the best is kept: its parts are nearest to their share of
    slices, and the quartiles of lung area are spread most evenly over them.

    Args:
        groups: group name to slices; copies do not count.
        names: the groups to assign.
        fractions: wanted share of each part; they are scaled to sum to 1.
        seed: the same seed gives the same assignment.

    Returns:
        For each of `names`, the index of its part. Each part with a share above 0 has a group.

    Raises:
        DataError: where there are fewer groups than parts.
    """
    wanted = np.array(fractions, dtype=float) / sum(fractions)
    open_parts = np.flatnonzero(wanted)
    if len(names) < len(open_parts):
        raise DataError(
            f"{len(names)} group(s) of slices cannot fill {len(open_parts)} parts without "
            "putting one patient on two sides. Use more patients, fewer parts (split.fractions) "
            "or another grouping (split.group_regex)."
        )
    areas = [[s.lung_fraction for s in groups[name] if not s.is_copy] for name in names]
    edges = np.quantile(np.concatenate([np.array(a) for a in areas]), [0.25, 0.5, 0.75])
    # One row a group: its slices in each quartile of lung area.
    strata = np.array([np.bincount(np.searchsorted(edges, a), minlength=4) for a in areas])
    sizes = strata.sum(axis=1)
    rng = np.random.default_rng([seed, 0x5917])
    best: NDArray[np.intp] | None = None
    best_score = np.inf
    for _ in range(int(np.clip(200_000 // len(names), 8, 400))):
        shares = _deal(rng.permutation(len(names)), sizes, wanted, open_parts)
        score = _imbalance(shares, strata, wanted)
        if score < best_score:
            best, best_score = shares, score
    assert best is not None
    return [int(part) for part in best]


def _deal(
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    wanted: NDArray[np.float64],
    open_parts: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Deal groups out in `order`: one to each part, then each to the part that lacks most."""
    shares = np.zeros(len(order), dtype=np.intp)
    goal = wanted * sizes.sum()
    filled = np.zeros(len(wanted))
    for position, index in enumerate(order):
        if position < len(open_parts):
            part = int(open_parts[position])
        else:
            part = int((goal - filled).argmax())
        shares[index] = part
        filled[part] += sizes[index]
    return shares


def _imbalance(
    shares: NDArray[np.intp], strata: NDArray[np.int64], wanted: NDArray[np.float64]
) -> float:
    counts = np.array([strata[shares == part].sum(axis=0) for part in range(len(wanted))])
    total = strata.sum(axis=0)
    off_size = np.abs(counts.sum(axis=1) / total.sum() - wanted).sum()
    off_strata = np.abs(counts - wanted[:, None] * total[None]).sum() / total.sum()
    return float(2 * off_size + off_strata)


def leakage(parts: Mapping[str, Sequence[Slice]]) -> list[Likeness]:
    """Find the most similar pair of slices across each two parts.

    A pair of one patient counts as fully alike, whatever the pictures say.
    """
    found = []
    for one, other in itertools.combinations([p for p in PARTS if parts.get(p)], 2):
        first, second = parts[one], parts[other]
        groups = {s.group: s for s in first}
        shared = next((s for s in second if s.group in groups), None)
        if shared is not None:
            cases = (groups[shared.group].case, shared.case)
            found.append(Likeness((one, other), cases, 1.0))
            continue
        best = most_similar([s.phash for s in first], [s.phash for s in second])
        if best is not None:
            i, j, similarity = best
            found.append(Likeness((one, other), (first[i].case, second[j].case), similarity))
    return found


def report_leaks(audit: Sequence[Likeness], split: SplitConfig) -> None:
    """Raise `DataError` for pairs at or above `split.leak_similarity`; warn where allowed."""
    leaks = [likeness for likeness in audit if likeness.similarity >= split.leak_similarity]
    if not leaks:
        return
    lines = [
        f"  {' / '.join(leak.parts)}: {leak.cases[0]} and {leak.cases[1]}, "
        f"similarity {leak.similarity:.3f}"
        for leak in leaks
    ]
    message = (
        f"Slices on two sides look like one patient's (split.leak_similarity "
        f"{split.leak_similarity}), which makes any score too good:\n" + "\n".join(lines)
    )
    if not split.allow_leakage:
        raise DataError(
            message + "\nName the patients (split.group_regex or split.group_csv), or allow it "
            "with -s split.allow_leakage=true."
        )
    console.warn(message)


def _write_dataset(folder: Path, parts: Mapping[str, Sequence[Slice]]) -> None:
    rows = []
    for part in PARTS:
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
        for s in parts.get(part, ()):
            image = f"{part}/images/{s.image.name}"
            mask = f"{part}/masks/{s.mask.name}"
            _link(s.image, folder / image)
            _link(s.mask, folder / mask)
            rows.append(
                {
                    "part": part,
                    "case": s.case,
                    "source": s.source,
                    "group": s.group,
                    "image": image,
                    "mask": mask,
                    "lung_fraction": f"{s.lung_fraction:.6f}",
                    "sha256": s.sha256,
                    "phash": s.phash,
                }
            )
    write_csv(folder / "split.csv", SPLIT_COLUMNS, rows)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
