"""Which slices a run is scored on, who named their patients, and what stands beside the scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import dump_config, with_overrides
from lungseg.config.schema import Config
from lungseg.dataset import likeness
from lungseg.dataset.appearance import Appearance, write_appearance
from lungseg.dataset.slices import Slice, pixel_hash
from lungseg.dataset.writing import write_dataset
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.describing import describe, find_caveats
from lungseg.evaluation.runs import ScoredPart, audit_parts, pair_runs, score_parts
from lungseg.evaluation.sources import (
    Source,
    choose_dataset,
    datasets_of,
    is_of_run,
    read_source,
    results_folder,
    stored_config,
)
from lungseg.imaging.pixels import write_png
from lungseg.inference.predictor import Predictor
from lungseg.system.files import sha256_of_file
from lungseg.system.tables import write_csv, write_json
from lungseg.training.run_folder import write_data_list
from tests.support.bodies import body
from tests.support.networks import write_network

SIDE = 8


@pytest.fixture(autouse=True)
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that warnings go to."""
    texts: list[str] = []
    monkeypatch.setattr("lungseg.system.console.warn", texts.append)
    return texts


def slice_of(folder: Path, case: str, group: str = "", mark: int = 0) -> Slice:
    """Write a bright slice with a dark, labelled square; its first pixel is `mark`."""
    folder.mkdir(exist_ok=True, parents=True)
    image, mask = folder / f"{case}.png", folder / f"{case}_mask.png"
    pixels = np.full((SIDE, SIDE), 200, np.uint8)
    pixels[2:6, 2:6] = 20
    pixels[0, 0] = mark
    write_png(image, pixels)
    write_png(mask, (pixels == 20) * np.uint8(255))
    return Slice(case, case, group or case, image, mask, 0.25, pixel_hash(pixels), "")


def write_run(folder: Path, dataset: Path | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = with_overrides(Config(), {"data.dataset": str(dataset)})
    (folder / "config.yaml").write_text(dump_config(config))
    return folder


def test_the_data_set_of_a_run_is_that_of_its_config(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    assert datasets_of(run) == []
    assert stored_config(run) is None
    write_run(run, data)
    assert datasets_of(run) == [data]
    assert stored_config(run) == run / "config.yaml"
    write_run(run, "relative/data")
    assert datasets_of(run) == []


def test_a_run_of_folds_has_the_folder_of_folds_and_its_folds(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    (run / "fold_1").mkdir(parents=True)
    assert datasets_of(run) == []
    for fold in ("fold_2", "fold_3"):
        write_run(run / fold, data / fold)
    assert datasets_of(run) == [data, data / "fold_2", data / "fold_3"]
    assert stored_config(run) == run / "fold_2" / "config.yaml"
    for folder, own in ((data, True), (data / "fold_3", True), (data / "fold_3" / "test", True),
                        (tmp_path, False), (tmp_path / "data2", False)):  # fmt: skip
        assert is_of_run(folder, run) == own
    (tmp_path / "link").symlink_to(data / "fold_2")
    (data / "fold_2").mkdir(parents=True)
    assert is_of_run(tmp_path / "link", run)
    assert choose_dataset(run, Config(), None) == data


def test_the_data_set_is_the_named_one_or_that_of_the_run(tmp_path: Path) -> None:
    own, other, run = tmp_path / "own", tmp_path / "other", write_run(tmp_path / "run", "x")
    named = with_overrides(Config(), {"data.dataset": str(other)})
    for folder in (own, other):
        folder.mkdir()
    assert choose_dataset(run, named, own) == own  # --data
    assert choose_dataset(run, named, None) == other
    with pytest.raises(UsageError, match=r"no config\.yaml names its data set here.*--data"):
        choose_dataset(run, Config(), None)
    with pytest.raises(UsageError, match="--data"):
        choose_dataset(run, named, tmp_path / "nowhere")
    write_run(run, own)
    assert choose_dataset(run, Config(), None) == own
    assert choose_dataset(run, with_overrides(Config(), {"data.dataset": str(own)}), None) == own
    with pytest.raises(UsageError, match=f"{run} was trained on {own}. Choose"):
        choose_dataset(run, named, None)
    own.rmdir()
    with pytest.raises(UsageError, match="if it was moved, name it by --data"):
        choose_dataset(run, Config(), None)


def config_of(part: str = "test", **split: str) -> Config:
    keys = {f"split.{key}": value for key, value in split.items()}
    return with_overrides(
        Config(), {"data.image_size": [SIDE, SIDE], "evaluate.part": part, **keys}
    )


def test_a_data_set_is_known_by_a_list_or_by_the_images_of_one_part(tmp_path: Path) -> None:
    data = tmp_path / "data"
    slices = {"valid": [slice_of(tmp_path, "v")], "test": [slice_of(tmp_path, "t")]}
    write_dataset(data, slices)
    write_appearance(data, Config().data)
    for part in ("valid", "test"):
        source = read_source(data, config_of(part))
        assert (source.part, [s.case for s in source.slices]) == (part, [part[0]])
        assert source.patients_from is None
        assert source.appearance == Appearance.of(Config().data)
    with pytest.raises(DataError, match=rf"{data / 'train'}: holds no usable pair"):
        read_source(data, config_of("train"))
    # One part alone is enough, without a list.
    lone = tmp_path / "lone"
    lone.mkdir()
    (data / "valid").rename(lone / "valid")
    for path in (lone / "valid" / "masks").iterdir():
        path.rename(path.with_name("v.png"))
    assert [s.case for s in read_source(lone, config_of("valid")).slices] == ["v"]
    with pytest.raises(DataError, match=rf"{lone / 'test'}: holds no usable pair"):
        read_source(lone, config_of())


def write_pairs(folder: Path, *cases: str) -> Path:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for k, case in enumerate(cases):
        one = slice_of(folder, case, mark=k)
        one.image.rename(folder / "images" / f"{case}.png")
        one.mask.rename(folder / "masks" / f"{case}.png")
    return folder


def test_a_folder_without_parts_is_scored_whole(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "any" / "test", "a1", "b1")
    write_appearance(tmp_path / "any", Config().data)
    source = read_source(folder, config_of())
    assert (source.part, source.patients_from) == ("all", "likeness")
    assert source.appearance == Appearance.of(Config().data)
    assert [s.named for s in source.slices] == [False, False]
    with pytest.raises(UsageError, match=r"has no parts, so it is scored whole. Leave out --part"):
        read_source(folder, config_of("valid"))
    named = read_source(folder, config_of(group_regex=r"(\w)1"))
    assert named.patients_from == "split.group_regex"
    assert [s.group for s in named.slices] == ["a", "b"]
    with pytest.raises(DataError, match=rf"{tmp_path}: expected test/images and test/masks"):
        read_source(tmp_path, config_of())
    (folder / "masks").rename(folder / "other")
    with pytest.raises(DataError, match="expected test/images and test/masks"):
        read_source(folder, config_of())
    empty = write_pairs(tmp_path / "empty")
    with pytest.raises(DataError, match=rf"{empty}: holds no usable pair"):
        read_source(empty, config_of())


def test_the_list_beside_a_part_names_its_patients(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "test", "a", "b")
    rows = [{"mask": f"test/masks/{case}.png", "group": f"patient {case}"} for case in "ab"]
    write_csv(tmp_path / "split.csv", ("mask", "group"), rows)
    source = read_source(folder, config_of())
    assert source.patients_from == "split.csv"
    assert [(s.group, s.named) for s in source.slices] == [("patient a", True), ("patient b", True)]


def test_results_of_other_slices_go_to_a_folder_of_their_own(tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    run.mkdir()
    other = [results_folder(run, data, [(run, hashes)]) for hashes in ({"a", "b"}, {"a", "c"})]
    assert other[0] != other[1]
    assert {path.parent for path in other} == {run}
    assert all(path.name.startswith("evaluation_data_") for path in other)
    assert results_folder(run, data, [(None, {"b", "a"})]) == other[0]
    rows = [{"part": "test", "sha256": name} for name in "ab"]
    write_csv(run / "data.csv", ("part", "sha256"), rows)
    assert results_folder(run, data, [(run, {"a", "b"})]) == run
    assert results_folder(run, data, [(run, {"a"})]) not in (run, *other)
    assert results_folder(run, data, [(None, {"a", "b"})]) == other[0]
    # Of two networks each has to list its slices.
    assert results_folder(run, data, [(run, {"a", "b"}), (run, {"a", "b"})]) == run
    assert results_folder(run, data, [(run, {"a", "b"}), (run, {"c"})]) != run


@pytest.fixture
def folds(tmp_path: Path) -> tuple[Path, Path]:
    """Return a run and a data set, both of two folds."""
    a, b = slice_of(tmp_path, "a", mark=1), slice_of(tmp_path, "b", mark=2)
    for number, (train, test) in enumerate(((a, b), (b, a)), 1):
        fold = f"fold_{number}"
        run = write_network(tmp_path / "run" / fold, (SIDE, SIDE))
        (run / "config.yaml").write_text(dump_config(Config()))
        write_data_list(run / "data.csv", {"train": [train]})
        write_dataset(tmp_path / "data" / fold, {"train": [train], "test": [test]})
    return tmp_path / "run", tmp_path / "data"


def test_each_network_is_scored_on_the_fold_that_it_has_not_seen(
    folds: tuple[Path, Path], warned: list[str]
) -> None:
    run, data = folds
    parts = pair_runs(config_of(), run, data)
    assert [part.fold for part in parts] == [1, 2]
    assert [[s.case for s in part.slices] for part in parts] == [["b"], ["a"]]
    assert [part.run for part in parts] == [run / "fold_1", run / "fold_2"]
    assert warned == []  # neither seen, nor a part of few patients
    scores = score_parts(parts, config_of())
    assert {(row.case, row.fold) for row in scores.rows} == {("b", 1), ("a", 2)}
    assert scores.sizes == {(SIDE, SIDE): 2}
    write_json(run / "run.json", {"seconds": 3})
    write_csv(run / "history.csv", ("epoch",), [{"epoch": "1"}])
    told = describe(config_of(), run, data, parts, scores)
    head = told.head
    assert (head["run"], head["data"], head["part"]) == ("run", "data", "test")
    assert head["cross_validation"] == "2 folds, each scored by a network not trained on it"
    assert "ensemble" not in head and "patients_from" not in head
    assert head["network_sha256"] == sha256_of_file(run / "fold_1" / "model.onnx")
    assert (head["unknown_patients"], head["group_is"]) == (0, None)
    assert (head["seen_in_training"], head["caveats"]) == ([], [])
    assert (told.extras["trained"], told.history) == ({"seconds": 3}, [{"epoch": "1"}])
    assert told.config == dump_config(Config())
    assert list(told.classes) == ["background", "lung"]
    assert told.draw("a").picture.shape[:2] == told.draw("b").picture.shape[:2]
    with pytest.raises(KeyError):
        told.draw("c")


def test_networks_that_predict_together_are_called_so(
    folds: tuple[Path, Path], tmp_path: Path, warned: list[str]
) -> None:
    run, _ = folds
    (run / "fold_1" / "config.yaml").unlink()
    whole = write_pairs(tmp_path / "whole", "a", "x")
    parts = pair_runs(config_of(), run, whole)
    [part] = parts
    assert (part.fold, part.run) == (None, None)
    assert any("the all part has 1 group" in text for text in warned)
    config = config_of()
    told = describe(config, run, whole, parts, score_parts(parts, config))
    assert told.head["ensemble"] == "mean probability of 2 networks"
    assert "cross_validation" not in told.head
    assert told.head["network_sha256"] is None
    assert told.head["patients_from"] == "likeness"
    assert told.head["unknown_patients"] == 2
    assert "trained" not in told.extras
    assert (told.history, told.config) == ([], dump_config(config))
    assert told.extras["uncertainty"]["mean_entropy"] > 0


def test_folds_that_do_not_fit_are_told_what_to_train_or_to_score(
    folds: tuple[Path, Path],
) -> None:
    run, data = folds
    (run / "fold_2").rename(run / "fold_3")
    command = f"lungseg train --data {data} --run {run} --fold all"
    resumed = f"{command} -c {run}/fold_1/config.yaml --resume"
    with pytest.raises(UsageError, match=rf"holds 2 folds, {run} 2 trained ones.*{resumed}, or"):
        pair_runs(config_of(), run, data)
    with pytest.raises(UsageError, match=rf"2 folds, {run / 'fold_1'} 0 trained .*fold all, or"):
        pair_runs(config_of(), run / "fold_1", data)


def test_a_case_in_a_part_of_several_folds_has_no_score(folds: tuple[Path, Path]) -> None:
    run, data = folds
    again = slice_of(data, "b", mark=2)
    with pytest.raises(DataError, match=r"valid: holds no usable pair"):
        pair_runs(config_of("valid"), run, data)
    for number in (1, 2):
        moved = data / f"fold_{number}"
        moved.rename(data / "old")
        write_dataset(moved, {"test": [again]})
        (data / "old").rename(run.parent / f"old_{number}")
    said = r"b is in the part test of 2 folds, so it would have 2 scores.*--part test"
    with pytest.raises(UsageError, match=said):
        pair_runs(config_of(), run, data)


def test_namesakes_and_seen_slices_are_said_with_the_first(
    tmp_path: Path, warned: list[str]
) -> None:
    known = [slice_of(tmp_path, "k", "anna", 1), slice_of(tmp_path, "l", "bert", 2)]
    run = write_network(tmp_path / "run", (SIDE, SIDE))
    write_data_list(run / "data.csv", {"train": known})
    test = [
        slice_of(tmp_path, "z", "anna", 3),
        slice_of(tmp_path, "y", "anna", 4),
        slice_of(tmp_path, "x", "carl", 2),
        slice_of(tmp_path, "w", "dora", 5),
        slice_of(tmp_path, "v", "emil", 1),
    ]
    write_dataset(tmp_path / "data", {"test": test})
    [part] = pair_runs(config_of(), run, tmp_path / "data")
    assert part.seen == {"x", "v"}
    assert [text.split("; ")[-1] for text in warned if "the first is" in text] == [
        "the first is v",
        "the first is y",
    ]
    seen, names = (text for text in warned if "the first is" in text)
    assert "the patients or the pixels of 2 of 5 cases of test" in seen
    assert names.startswith("2 cases of test have patients of the same names")


def part_of(
    tmp_path: Path, slices: Mapping[str, Sequence[Slice]], looks: Appearance | None = None
) -> ScoredPart:
    run = write_network(tmp_path / "run", (SIDE, 2 * SIDE))
    parts = {part: list(some) for part, some in slices.items()}
    return ScoredPart(Predictor(run / "model.onnx"), Source("test", parts, None, looks), set())


def test_slices_of_other_sizes_and_looks_are_caveats_that_are_said_once(
    tmp_path: Path, warned: list[str]
) -> None:
    own = part_of(tmp_path, {})
    looks = Appearance.of(own.predictor.data)
    size = (SIDE, 2 * SIDE)
    assert find_caveats([own], Counter({size: 5})) == []
    assert find_caveats([part_of(tmp_path, {}, looks)], Counter()) == []
    other = part_of(tmp_path, {}, replace(looks, window=(0.0, 1.0)))
    found = find_caveats([own, other, other], Counter({size: 5, (9, 3): 2, (9, 1): 1}))
    assert found[0] == (
        "3 of 8 slices were resized to the network's 8 x 16 (1 of 9 x 1, 2 of 9 x 3); distances "
        "are in pixels of that size"
    )
    assert len(found) == 2 and "the window 0 to 1 HU" in found[1]
    assert warned == found


def test_the_audit_counts_slices_copies_and_patients_and_keeps_the_closest_pair(
    tmp_path: Path,
) -> None:
    def one(case: str, patient: int, group: str = "") -> Slice:
        return Slice(
            case, case, group or case, Path(), Path(), 0.2, case, likeness.describe(body(patient))
        )

    copy = replace(one("a_aug01", 1, "a"), source="a")
    first = part_of(tmp_path, {"train": [one("a", 1), copy, one("c", 3)], "test": [one("b", 2)]})
    closer = part_of(tmp_path, {"train": [one("d", 4)], "test": [one("e", 4)]})
    for parts in ([first, closer], [closer, first]):
        found = audit_parts(parts, Config().split)
        [pair] = found["most_alike"]
        assert (pair["parts"], pair["cases"]) == (["train", "test"], ["d", "e"])
        assert pair["similarity"] == pytest.approx(1, abs=1e-5)
    assert audit_parts([first, closer], Config().split)["parts"] == {
        "train": {"slices": 2, "copies": 1, "patients": 2},
        "test": {"slices": 1, "copies": 0, "patients": 1},
    }
    assert found["group_is"] is None
