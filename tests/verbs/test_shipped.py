"""Without a run the shipped network is used, and nothing is written into its folder."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import lungseg as api
from lungseg.config.loading import check_config
from lungseg.dataset.reading import read_layout
from lungseg.system import shipped
from lungseg.system.tables import read_csv, read_json
from lungseg.training.run_folder import write_data_list
from tests.support.dicom_files import write_series
from tests.support.networks import write_run
from tests.support.phantoms import SIDE, tiny
from tests.support.volumes import phantom_arrays

Cli = Callable[..., Result]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a small network in the place of the shipped one; work in an empty folder."""
    folder = tmp_path / "site-packages" / "lungseg" / "shipped"
    write_run(folder, SIDE)
    (folder / "model-card.md").write_text("# A card\n<!-- hidden -->\nIt fails **often**.\n")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    monkeypatch.setattr("lungseg.verbs.models.CARD", folder / "model-card.md")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.fixture
def own_run(package: Path) -> Path:
    """Make the run folder that a training writes to by default, with another network."""
    write_run(Path("runs/lung"), SIDE)
    path = Path("runs/lung/model.json")
    path.write_text(path.read_text().replace("}", "} ", 1))
    return Path("runs/lung")


def state(folder: Path) -> dict[str, tuple[str, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def said_by(result: Result, code: int = 0) -> str:
    assert result.exit_code == code, result.output
    return result.output.replace("\n", " ")


def networks(masks: str) -> set[tuple[str, str]]:
    rows = read_csv(Path(masks) / "cases.csv")
    return {(row["network"], row["model_sha256"]) for row in rows}


def hash_of(run: Path) -> str:
    """Return what `model_sha256` is by its definition: the hash of two hashes."""
    hashes = [hashlib.sha256((run / n).read_bytes()) for n in ("model.onnx", "model.json")]
    return hashlib.sha256("\n".join(each.hexdigest() for each in hashes).encode()).hexdigest()


def test_infer_names_it_without_its_path(package: Path, raw: Path, lungseg: Cli) -> None:
    before = state(package)
    result = lungseg("infer", raw / "images", "-o", "masks", "--json")
    digest = hashlib.sha256((package / "model.onnx").read_bytes()).hexdigest()
    assert f"network: the shipped one, sha256 {digest[:12]}\n" in result.stderr
    assert networks("masks") == {("shipped", hash_of(package))}
    cases = json.loads(result.stdout)["cases"]
    assert {(c["network"], c["model_sha256"]) for c in cases} == networks("masks")
    for path in (p for p in Path("masks").rglob("*") if p.is_file()):
        assert b"site-packages" not in path.read_bytes(), path
    assert "site-packages" not in result.output
    assert state(package) == before


def test_dicom_objects_name_it(package: Path, lungseg: Cli) -> None:
    highdicom, pydicom = pytest.importorskip("highdicom"), pytest.importorskip("pydicom")
    write_series(Path("scan"), phantom_arrays()[0])
    kept = ("-s", "infer.drop_air=false", "-s", "infer.min_component_ml=0")
    contours = ("-s", "infer.rtstruct=true")
    said_by(lungseg("infer", "scan", "-o", "masks", "-s", "infer.dicom_seg=true", *kept, *contours))
    seg = highdicom.seg.segread("masks/scan.dcm")
    (algorithm,) = seg.get_segment_description(1).SegmentationAlgorithmIdentificationSequence
    said = str(algorithm.AlgorithmParameters)
    assert algorithm.AlgorithmName == "lungseg"
    assert "network=shipped" in said
    assert f"model_sha256={hash_of(package)}" in said
    structures = pydicom.dcmread("masks/rtstruct/scan.dcm")
    expected = f"network shipped, model_sha256 {hash_of(package)}"
    assert structures.StructureSetDescription == expected


@pytest.mark.parametrize("asked", [(), ("--run", "shipped")])
def test_a_run_of_ones_own_is_mentioned_if_nothing_was_asked_for(
    asked: tuple[str, ...], package: Path, own_run: Path, raw: Path, lungseg: Cli
) -> None:
    said = said_by(lungseg("infer", *asked, raw / "images", "-o", "masks"))
    assert networks("masks") == {("shipped", hash_of(package))}
    assert ("to use it: --run runs/lung" in said) is (not asked)


def test_what_is_asked_for_comes_first(
    package: Path, own_run: Path, raw: Path, lungseg: Cli
) -> None:
    images = raw / "images" / "patient01_slice01.png"
    own = {("lung", hash_of(own_run))}
    write_run(Path("runs/other"), SIDE)
    Path("c.yaml").write_text("train: {run: runs/lung}\n")
    for number, asked in enumerate(
        [
            ("--run", "runs/lung"),
            ("-s", "train.run=runs/lung"),
            ("-c", "c.yaml"),
            ("-s", "train.run=runs/other", "--run", "runs/lung"),
        ]
    ):
        said = said_by(lungseg("infer", *asked, images, "-o", f"masks{number}"))
        assert "network: runs/lung" in said
        assert "shipped" not in said
        assert networks(f"masks{number}") == own
    shutil.copy(own_run / "model.onnx", "mine.onnx")
    shutil.copy(own_run / "model.json", "model.json")
    given = ("--model", "mine.onnx", "-s", "train.run=nowhere")
    assert "network: mine.onnx" in said_by(lungseg("infer", *given, images, "-o", "last"))
    assert networks("last") == {("mine.onnx", hash_of(own_run))}


@pytest.mark.parametrize("verb", ["infer", "evaluate"])
def test_a_run_of_the_config_that_is_missing_is_an_error(
    verb: str, package: Path, raw: Path, lungseg: Cli
) -> None:
    given = {"infer": (raw / "images",), "evaluate": ("--data", raw)}[verb]
    said = said_by(lungseg(verb, *given, "-o", "out", "-s", "train.run=runs/lung"), 2)
    assert "runs/lung: there is no such run folder (train.run of the config)" in said
    assert not Path("out").exists()


def test_a_folder_of_the_name_is_named_by_its_path(
    package: Path, own_run: Path, raw: Path, lungseg: Cli
) -> None:
    own_run.rename("shipped")
    images = raw / "images"
    said_by(lungseg("infer", "--run", "./shipped", images, "-o", "own"))
    said = said_by(lungseg("infer", "--run", "shipped", images, "-o", "theirs"))
    assert "to use it: --run ./shipped" in said
    assert networks("own") == {("shipped", hash_of(Path("shipped")))}
    assert networks("theirs") == {("shipped", hash_of(package))} != networks("own")


def test_a_mask_of_another_network_is_made_again(package: Path, raw: Path, lungseg: Cli) -> None:
    images = raw / "images"
    said_by(lungseg("infer", images, "-o", "masks"))
    assert "20 cases are done already" in said_by(
        lungseg("infer", images, "-o", "masks", "--resume")
    )
    path = package / "model.json"
    path.write_text(path.read_text() + "\n")  # as after an update of the program
    said = said_by(lungseg("infer", images, "-o", "masks", "--resume"))
    assert "made again, because the model changed: 20" in said
    assert networks("masks") == {("shipped", hash_of(package))}


def test_evaluate_needs_an_output(package: Path, dataset: Path, lungseg: Cli) -> None:
    before = state(package)
    for asked in ((), ("--run", "shipped"), ("--run", package)):
        said = said_by(lungseg("evaluate", *asked, "--data", dataset), 2)
        assert "-o FOLDER" in said
    assert "name one by --data" in said_by(lungseg("evaluate", "-o", "scores"), 2)
    said = said_by(lungseg("evaluate", "--data", dataset, "-o", "scores"))
    assert "network: the shipped one" in said
    summary = read_json(Path("scores/evaluation.json"))
    assert (summary["run"], summary["model_sha256"]) == ("shipped", [hash_of(package)])
    assert summary["seen_in_training"] == []
    assert state(package) == before


def test_evaluate_knows_what_it_was_trained_on(package: Path, dataset: Path, lungseg: Cli) -> None:
    slices = read_layout(dataset, check_config(tiny(), "tiny"))["test"]
    write_data_list(package / "data.csv", {"train": slices[:1]})
    said = said_by(lungseg("evaluate", "--data", dataset, "-o", "scores"))
    assert "the network was trained on the patients or the pixels of 4 of 4 cases" in said


def test_the_config_of_its_developers_does_not_count(
    package: Path, dataset: Path, lungseg: Cli
) -> None:
    (package / "config.yaml").write_text("evaluate: {bootstrap: 7}\nseed: 5\n")
    said_by(lungseg("evaluate", "--data", dataset, "-o", "scores"))
    summary = read_json(Path("scores/evaluation.json"))
    assert (summary["settings"]["bootstrap"], summary["seed"]) != (7, 5)


def test_no_command_writes_into_its_folder(package: Path, dataset: Path, lungseg: Cli) -> None:
    before = state(package)
    (package / "model.keras").touch()
    before = state(package)
    train = ("train", "--data", dataset, "--run", package)
    for command in (
        ("export", "--run", "shipped"),
        train,
        (*train, "--overwrite"),
        (*train, "--resume"),
        ("infer", dataset / "test" / "images", "-o", package, "--overwrite"),
    ):
        assert lungseg(*command).exit_code == 2
    assert state(package) == before


def test_python_goes_by_the_same_rule(package: Path, own_run: Path, raw: Path) -> None:
    hu = np.full((1, SIDE, SIDE), 40, np.int16)
    hu[0, 9] = -1000
    expected = hu == -1000
    for lungs in (api.Segmenter(), api.Segmenter("shipped"), api.Segmenter(own_run)):
        np.testing.assert_array_equal(lungs.segment(hu), expected)
    api.infer(api.Config(), raw / "images", "masks")
    assert networks("masks") == {("shipped", hash_of(package))}
    config = api.load_config(None, ["train.run=runs/lung"])
    api.infer(config, raw / "images", "own")
    assert networks("own") == {("lung", hash_of(own_run))}
    with pytest.raises(api.UsageError, match="-o FOLDER"):  # before anything is read
        api.evaluate(api.Config(), None, "nowhere")


def test_a_package_without_its_network_says_so(package: Path, raw: Path, lungseg: Cli) -> None:
    (package / "model.json").unlink()
    said = said_by(lungseg("infer", raw / "images", "-o", "masks"), 2)
    assert "lacks its network. Install lungseg again" in said
    with pytest.raises(api.UsageError, match="lacks its network"):
        api.Segmenter()


def test_models_lists_the_networks_and_prints_the_card(
    package: Path, own_run: Path, lungseg: Cli
) -> None:
    Path("runs/begun").mkdir()
    Path("runs/folds/fold_1").mkdir(parents=True)
    shutil.copytree(own_run, "runs/folds/fold_1", dirs_exist_ok=True)
    result = lungseg("models")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for run, folder in (("shipped", package), ("runs/lung", own_run), ("runs/folds", own_run)):
        (line,) = (line for line in lines if f" {run} " in line)
        assert " lung " in line
        assert hash_of(folder)[:12] in line
    assert "begun" not in result.stdout
    assert result.stdout.endswith("# A card\nIt fails **often**.\n\n")
    document = json.loads(lungseg("models", "--json").stdout)
    assert document["card"] == "# A card\nIt fails **often**.\n"
    assert [n["run"] for n in document["networks"]] == ["shipped", "runs/folds", "runs/lung"]
    assert document["networks"][0]["model_sha256"] == hash_of(package)
