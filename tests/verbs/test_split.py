"""No patient is on two sides, nothing is lost, and a leak is found."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.dataset.patients import assign_groups
from lungseg.dataset.reading import read_layout
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError, UsageError
from lungseg.system.tables import read_csv
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from tests.support.phantoms import tiny


def with_split(**values: object) -> Config:
    data = tiny()
    data["split"] = {**data["split"], **values}
    return check_config(data, "test")


def test_each_patient_is_on_one_side_and_no_slice_is_lost(dataset: Path) -> None:
    rows = read_csv(dataset / "split.csv")
    parts_of: dict[str, set[str]] = {}
    for row in rows:
        parts_of.setdefault(row["group"], set()).add(row["part"])
        assert row["case"].startswith(row["group"])
        assert (dataset / row["image"]).exists()
        assert (dataset / row["mask"]).exists()
    assert len(rows) == 20
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert {row["part"] for row in rows} == set(PARTS)


def test_files_share_space_only_if_asked(prepared: Path, dataset: Path, tmp_path: Path) -> None:
    split(with_split(hard_links=True), prepared, tmp_path / "linked")
    for folder, linked in ((dataset, False), (tmp_path / "linked", True)):
        for row in read_csv(folder / "split.csv"):
            for kind in ("image", "mask"):
                source = prepared / f"{kind}s" / Path(row[kind]).name
                assert (folder / row[kind]).samefile(source) == linked
                assert (folder / row[kind]).read_bytes() == source.read_bytes()


def test_the_same_seed_gives_the_same_split_and_another_another(
    prepared: Path, tmp_path: Path
) -> None:
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 7)):
        config = check_config({**tiny(), "seed": seed}, "test")
        split(config, prepared, tmp_path / name)
        tables.append((tmp_path / name / "split.csv").read_text())
    assert tables[0] == tables[1] != tables[2]


def test_augmented_copies_follow_their_source_and_stay_in_train(raw: Path, tmp_path: Path) -> None:
    config = check_config({**tiny(), "prepare": {"copies": 2}}, "test")
    prepare(config, raw / "images", raw / "masks", tmp_path / "prepared")
    split(config, tmp_path / "prepared", tmp_path / "dataset")
    rows = read_csv(tmp_path / "dataset" / "split.csv")
    assert {row["part"] for row in rows if row["case"] != row["source"]} == {"train"}
    part_of = {row["case"]: row["part"] for row in rows}
    assert len({row["source"] for row in rows}) == 20
    assert all(part_of[row["source"]] == row["part"] for row in rows)


def test_folds_hold_out_each_slice_once(prepared: Path, tmp_path: Path) -> None:
    results = split(with_split(folds=3), prepared, tmp_path / "folds")
    assert [result.folder.name for result in results] == ["fold_1", "fold_2", "fold_3"]
    held_out = [s.case for result in results for s in result.parts["test"]]
    assert len(held_out) == len(set(held_out)) == 20
    for result in results:
        groups = [{s.group for s in result.parts[part]} for part in PARTS]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        assert (result.folder / "train" / "images").is_dir()


def test_without_names_slices_that_look_alike_are_one_group(prepared: Path, tmp_path: Path) -> None:
    config = with_split(group_regex=None, neighbour_similarity=0.8, patient_similarity=0.95)
    [result] = split(config, prepared, tmp_path / "out")
    assert result.merged
    for cases in result.merged:
        parts = {part for part in PARTS for s in result.parts[part] if s.case in cases}
        assert len(parts) == 1


def test_a_leak_is_an_error_unless_allowed(
    raw: Path, tmp_path: Path, config_file: Path, lungseg: Callable[..., Result]
) -> None:
    # The same slice under two patients' names, as copies made before a split leave it.
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder, kind in ((images, "images"), (masks, "masks")):
        folder.mkdir()
        for number in range(1, 6):
            for patient in (1, 2, 3):
                source = f"patient{(number if patient < 3 else 1):02d}_slice02.png"
                target = folder / f"patient{number:02d}{patient}_slice.png"
                target.write_bytes((raw / kind / source).read_bytes())
    prepare(with_split(), images, masks, tmp_path / "prepared")
    arguments = ("split", "-c", config_file, "--input", tmp_path / "prepared", "-o", tmp_path / "o")
    result = lungseg(*arguments)
    assert result.exit_code == 3
    assert "similarity 1.000" in result.stderr
    assert "split.allow_leakage=true" in result.stderr
    assert not (tmp_path / "o").exists()
    allowed = lungseg(*arguments, "-s", "split.allow_leakage=true")
    assert allowed.exit_code == 0
    assert "warning" in allowed.stderr


def test_groups_come_from_a_csv(prepared: Path, tmp_path: Path) -> None:
    cases = [row["case"] for row in read_csv(prepared / "manifest.csv")]
    table = tmp_path / "groups.csv"
    table.write_text("case,who\n" + "\n".join(f"{c},{c[:9]}" for c in cases))
    config = with_split(group_regex=None, group_csv=str(table), group_column="who")
    [result] = split(config, prepared, tmp_path / "out")
    assert {s.group for part in PARTS for s in result.parts[part]} == {c[:9] for c in cases}
    table.write_text("case,who\n" + f"{cases[0]},x")
    with pytest.raises(UsageError, match="names no group for 19 of 20"):
        split(config, prepared, tmp_path / "other")


def test_grouping_that_does_not_fit_is_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not match the case 'patient01_slice01'"):
        split(with_split(group_regex=r"^(\d+)"), prepared, tmp_path / "out")
    with pytest.raises(DataError, match=r"1 group\(s\) of slices cannot fill 3 parts"):
        split(with_split(group_regex=r"^(patient)"), prepared, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_data_set_already_split_keeps_its_parts(
    dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    before = {row["case"]: row["part"] for row in read_csv(dataset / "split.csv")}
    bare = tmp_path / "bare"
    for part in PARTS:
        for kind in ("images", "masks"):
            (bare / part / kind).mkdir(parents=True)
            for path in (dataset / part / kind).iterdir():
                (bare / part / kind / path.name).write_bytes(path.read_bytes())
    parts = read_layout(bare, tiny_config)
    assert {s.case: part for part in PARTS for s in parts[part]} == before
    [result] = split(tiny_config, bare, tmp_path / "out")
    assert {s.case: part for part in PARTS for s in result.parts[part]} == before
    assert result.audit
    assert {s.group for s in result.parts["train"]} == {
        row["group"] for row in read_csv(dataset / "split.csv") if row["part"] == "train"
    }


def test_a_folder_that_prepare_did_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"holds neither manifest\.csv"):
        split(with_split(), tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "manifest.csv").write_text("case,image\na,b\n")
    with pytest.raises(DataError, match="expected the columns"):
        split(with_split(), tmp_path / "in", tmp_path / "out")


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=30),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_groups_are_dealt_whole_fairly_and_repeatably(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    area = st.floats(0, 0.5)
    groups = {
        f"g{i}": [
            Slice(f"g{i}_{j}", f"g{i}_{j}", f"g{i}", Path(), Path(), data.draw(area), "", "")
            for j in range(size)
        ]
        for i, size in enumerate(sizes)
    }
    fractions = (0.6, 0.2, 0.2)
    shares = assign_groups(groups, list(groups), fractions, seed)
    assert shares == assign_groups(groups, list(groups), fractions, seed)
    assert len(shares) == len(groups)
    assert set(shares) == {0, 1, 2}
    counts = [sum(size for size, s in zip(sizes, shares, strict=True) if s == p) for p in range(3)]
    # Nobody gets more than a fair share and one group on top.
    for count, fraction in zip(counts, fractions, strict=True):
        assert count <= fraction * sum(sizes) + max(sizes)
