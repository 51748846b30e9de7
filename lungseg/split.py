"""`lungseg split`: slices -> train, valid and test, by patient, with a leakage audit.

`DATASET` holds `train|valid|test/{images,masks}` and `split.csv`; with folds, `fold_1`, `fold_2`
and so on, each of which is such a data set.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.config import Config, SplitConfig
from lungseg.errors import DataError
from lungseg.files import existing_folder, natural_key, staged_folder, write_csv
from lungseg.groups import grouped
from lungseg.layout import is_layout, read_layout, read_manifest
from lungseg.similarity import most_similar
from lungseg.slices import PARTS, SPLIT_COLUMNS, Slice


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
        slices, merged = grouped(read_manifest(source), config.split)
        plans = {name: (parts, merged) for name, parts in _plan(slices, config).items()}
    results = []
    with staged_folder(output, overwrite, (source,)) as staged:
        for name, (parts, merged) in plans.items():
            audit = leakage(parts)
            report_leaks(audit, config.split)
            _write_dataset(staged / name, parts)
            results.append(SplitResult(output / name, parts, audit, merged))
    return results


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


def show(result: SplitResult) -> None:
    """Print the table of a split, the groups it made, and its audit."""
    rows = []
    for part, slices in result.parts.items():
        originals = [s for s in slices if not s.is_copy]
        area = sum(s.lung_fraction for s in originals) / max(len(originals), 1)
        groups = len({s.group for s in slices})
        rows.append([part, len(originals), len(slices) - len(originals), groups, f"{area:.1%}"])
    console.table(str(result.folder), ["part", "slices", "copies", "groups", "lung area"], rows)
    for cases in result.merged:
        console.note(f"one group, as they look alike: {', '.join(cases)}")
    for like in result.audit:
        console.note(
            f"most alike across {like.parts[0]} and {like.parts[1]}: {like.cases[0]}, "
            f"{like.cases[1]}, similarity {like.similarity:.3f}"
        )


def summarise(result: SplitResult) -> dict[str, object]:
    """Return a split as plain data, for `--json`."""
    return {
        "folder": result.folder,
        "parts": {part: [s.case for s in slices] for part, slices in result.parts.items()},
        "audit": [asdict(like) for like in result.audit],
        "merged": result.merged,
    }
