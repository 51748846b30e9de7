"""`import lungseg` is quick, complete and quiet, and does what the command line does."""

import ast
import doctest
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

import lungseg as api
from lungseg.config.schema import Config
from lungseg.system.tables import read_csv, read_json
from tests.support.notebook import phantom_hu, write_dicom
from tests.support.volumes import phantom_arrays

NAMES = {
    "Segmenter", "Segmentation", "Ct", "read_ct", "score", "prepare", "split", "train", "evaluate",
    "infer", "Config", "load_config", "LungsegError", "UsageError", "DataError", "__version__",
}  # fmt: skip
VERBS = ("prepare", "split", "train", "evaluate", "infer")


def run_python(code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done


# What is offered.


def test_importing_the_package_loads_nothing() -> None:
    done = run_python(
        "import sys; before = set(sys.modules)\n"
        "import lungseg; dir(lungseg)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))\n"
        "print(sorted(name for name in sys.modules if name.startswith('lungseg.')))\n"
    )
    assert done.stdout.splitlines() == ["['lungseg']", "[]"]


def test_all_names_are_there_and_no_others() -> None:
    assert set(api.__all__) == NAMES
    assert set(dir(api)) >= NAMES
    for name in api.__all__:
        assert getattr(api, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        api.predict  # noqa: B018


def test_type_checkers_see_what_is_imported_on_first_use() -> None:
    tree = ast.parse(inspect.getsource(api))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    checked = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert checked == api._MODULES
    assert checked.keys() == NAMES - {"__version__"}


def test_no_module_can_take_a_functions_place() -> None:
    assert not {module.name for module in pkgutil.iter_modules(api.__path__)} & NAMES
    imports = "\n".join(f"import lungseg.verbs.{verb}, lungseg.cli.{verb}" for verb in VERBS)
    calls = "\n".join(f"assert callable(lungseg.{verb}), '{verb}'" for verb in VERBS)
    run_python(f"{imports}\nimport lungseg\n{calls}\n{imports}\n{calls}\n")


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_every_name_has_an_example_that_runs(name: str, notebook: Path) -> None:
    found = doctest.DocTestFinder().find(getattr(api, name), name, globs={"lungseg": api, "np": np})
    examples = [example for test in found for example in test.examples]
    assert examples
    assert not [example for example in examples if "SKIP" in example.source]
    runner = doctest.DocTestRunner()
    report: list[str] = []
    for test in found:
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_the_example_of_the_package_runs(notebook: Path) -> None:
    report: list[str] = []
    (test,) = doctest.DocTestFinder(recurse=False).find(api, "lungseg", globs={})
    assert len(test.examples) > 2
    doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_given_by_name(verb: str) -> None:
    parameters = inspect.signature(getattr(api, verb)).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty]
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert required[0] == "config"
    assert "overwrite" in by_name
    assert not set(required) & set(by_name)
    others = [p.name for p in parameters if p.name not in (*required, *by_name)]
    assert others == (["output"] if verb == "evaluate" else [])


def test_an_error_of_a_function_speaks_of_no_option(notebook: Path) -> None:
    config = api.load_config("lung.yaml")
    for call in (
        lambda: api.prepare(config, "no", "raw/masks", "out"),
        lambda: api.split(config, "no", "out"),
        lambda: api.train(config, "no", "out"),
        lambda: api.evaluate(config, "demo/run", "no", "out"),
        lambda: api.infer(config, "scan.mha", "out", run="no"),
        lambda: api.infer(config, "scan.mha", "out"),
        lambda: api.Segmenter("no"),
        lambda: api.train(config, "data/dataset", "out", resume=True, overwrite=True),
    ):
        with pytest.raises(api.UsageError) as caught:
            call()
        assert "--" not in str(caught.value)
    assert not Path("out").exists()


def test_the_command_line_names_option_and_key(lungseg: Callable[..., Any], notebook: Path) -> None:
    result = lungseg("prepare", "--images", "raw/images")
    assert (result.exit_code, "use --masks, or set data.masks" in result.stderr) == (2, True)
    result = lungseg("split", "--input", "no")
    assert (result.exit_code, "(--input)" in result.stderr) == (2, True)
    result = lungseg("infer", "scan.mha", "-o", "o", "--run", "demo/run", "--model", "m.onnx")
    assert (result.exit_code, "either --run RUN or --model" in result.stderr) == (2, True)


# Arrays.


def by_hand(run: Path, hu: NDArray[Any]) -> NDArray[np.float32]:
    """Return the network's probabilities without any code of lungseg."""
    grey = np.clip(np.rint((hu.astype(np.float32) + 1000) * (255 / 1400)), 0, 255)
    session = onnxruntime.InferenceSession(str(run / "model.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: grey[..., None]})
    return np.asarray(found)


def test_an_array_is_segmented_as_the_network_says(notebook: Path, trained_run: Path) -> None:
    hu = phantom_hu()
    expected = by_hand(trained_run, hu)
    lungs = api.Segmenter("demo/run")
    mask = lungs.segment(hu)
    assert mask.any()
    assert mask.dtype == np.uint8
    assert mask.shape == hu.shape
    np.testing.assert_array_equal(mask, expected.argmax(axis=-1))
    probability = lungs.probability(hu)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, expected[..., 1], atol=1e-5)
    np.testing.assert_array_equal(lungs.segment(hu[5]), mask[5])
    np.testing.assert_array_equal(lungs.segment(hu.astype(np.float64)), mask)
    np.testing.assert_array_equal(api.Segmenter(trained_run / "model.onnx").segment(hu), mask)


def test_grey_values_are_taken_as_they_are(notebook: Path) -> None:
    hu = phantom_hu()
    grey = np.clip(np.rint((hu.astype(np.float32) + 1000) * (255 / 1400)), 0, 255)
    lungs = api.Segmenter("demo/run")
    np.testing.assert_array_equal(lungs.segment(grey.astype(np.uint8)), lungs.segment(hu))


def test_a_slice_that_is_no_square_keeps_its_shape_and_its_patient(notebook: Path) -> None:
    hu = phantom_hu()
    lungs = api.Segmenter("demo/run")
    # Padded by the window's black on both sides, the square slice comes back to the network.
    cut = hu[:, 4:-4]
    square = hu.copy()
    square[:, :4] = square[:, -4:] = -1000
    np.testing.assert_array_equal(lungs.segment(cut), lungs.segment(square)[:, 4:-4])


def test_flips_are_averaged(notebook: Path, trained_run: Path) -> None:
    hu = phantom_hu()
    expected = (by_hand(trained_run, hu) + by_hand(trained_run, hu[..., ::-1])[:, :, ::-1]) / 2
    found = api.Segmenter("demo/run", flips=True, threads=1, device="cpu").probability(hu)
    np.testing.assert_allclose(found, expected[..., 1], atol=1e-5)


HU = np.full((4, 5), -900, dtype=np.int16)


@pytest.mark.parametrize(
    ("array", "error", "what"),
    [
        (HU[0], api.UsageError, r"\(H, W\)"),
        (np.stack([[HU, HU]]), api.UsageError, r"\(D, H, W\)"),
        (HU[:0], api.UsageError, "shape"),
        (np.zeros((8, 8, 3), np.uint8), api.UsageError, "colour picture"),
        (HU.astype(np.uint16), api.UsageError, "uint16.*offset"),
        (HU.astype(np.int8), api.UsageError, "int8"),
        (HU > 0, api.UsageError, "bool"),
        (HU.astype(complex), api.UsageError, "complex128"),
        (np.where(HU < 0, np.nan, 1.0), api.DataError, "20 values are NaN"),
        (np.zeros((4, 5)), api.DataError, "near -1000 HU"),
        (phantom_arrays(4)[0] - 1024, api.DataError, "the array: air, fat and soft tissue"),
        ([["a"]], api.UsageError, "<U1"),
        ([[-900, -800], [-900]], api.UsageError, "one length"),
        (np.ma.masked_less(HU, -800), api.UsageError, "masked array"),
        ("scan.mha", api.UsageError, "segment_volume"),
    ],
)  # fmt: skip
def test_an_array_without_clear_meaning_is_refused(
    array: Any, error: type[Exception], what: str, notebook: Path
) -> None:
    lungs = api.Segmenter("demo/run")
    for call in (lungs.segment, lungs.probability):
        with pytest.raises(error, match=what):
            call(array)


def test_a_model_that_is_not_there_is_an_error(notebook: Path) -> None:
    with pytest.raises(api.UsageError, match="no such run folder or model file"):
        api.Segmenter("demo/model.onnx")
    with pytest.raises(api.UsageError, match="no exported model"):
        api.Segmenter("raw")
    with pytest.raises(api.UsageError, match="device"):
        api.Segmenter("demo/run", device="tpu")


# Scans.


@pytest.mark.parametrize("sides", [False, True])
def test_a_scan_gets_the_mask_that_infer_writes(sides: bool, notebook: Path) -> None:
    # The axes of this one run to the right and to the feet.
    scan = sitk.ReadImage("scan.mha")
    turned = sitk.DICOMOrient(scan, "RPI")
    sitk.WriteImage(turned, "turned.nii.gz")
    config = Config.model_validate({"infer": {"sides": sides}})
    api.infer(config, "turned.nii.gz", "masks", run="demo/run")
    written = sitk.ReadImage("masks/turned.nii.gz")
    found = api.Segmenter("demo/run").segment_volume("turned.nii.gz", sides=sides)
    assert found.mask.any()
    assert found.mask.max() == (2 if sides else 1)
    np.testing.assert_array_equal(found.mask, sitk.GetArrayFromImage(written))
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found.image, get)(), getattr(written, get)(), atol=1e-5)
        assert getattr(found.image, get)() == getattr(found.ct.image, get)()
    (row,) = read_json(Path("masks/cases.json"))
    del row["lung_fraction"]
    measures = {key: value for key, value in found.measures.items() if key in row}
    assert measures.keys() == found.measures.keys() - {"lung_voxels"}
    assert measures == {key: row[key] for key in measures}
    (row,) = read_csv(Path("masks/cases.csv"))
    assert "; ".join(found.remarks) == row["detail"]


def test_a_path_a_ct_and_an_image_are_the_same(notebook: Path) -> None:
    lungs = api.Segmenter("demo/run")
    mask = lungs.segment_volume("scan.mha").mask
    assert mask.any()
    for scan in (Path("scan.mha"), api.read_ct("scan.mha"), sitk.ReadImage("scan.mha")):
        np.testing.assert_array_equal(lungs.segment_volume(scan).mask, mask)
    # The same phantom as DICOM.
    np.testing.assert_array_equal(lungs.segment_volume("scan").mask, mask)
    with pytest.raises(api.UsageError, match="use segment"):
        lungs.segment_volume(phantom_hu())
    with pytest.raises(api.DataError, match="SimpleITK image: expected a volume of three"):
        lungs.segment_volume(sitk.ReadImage("scan.mha")[:, :, 0])


def test_a_mask_is_saved_in_the_scans_geometry(notebook: Path) -> None:
    found = api.Segmenter("demo/run").segment_volume("scan")
    assert found.mask.any()
    for suffix in (".nii.gz", ".mha", ".nrrd"):
        found.save("lungs" + suffix)
        saved = sitk.ReadImage("lungs" + suffix)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(saved), found.mask)
        np.testing.assert_allclose(saved.GetOrigin(), found.ct.image.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(saved.GetSpacing(), found.ct.image.GetSpacing(), atol=1e-4)
    with pytest.raises(api.UsageError, match=r"\.nii\.gz, \.nii, \.mha, \.nrrd"):
        found.save("lungs.png")
    with pytest.raises(api.DataError, match="cannot be written"):
        found.save("nowhere/lungs.mha")


def test_a_ct_has_hu_and_spacing_in_numpys_order(notebook: Path) -> None:
    hu = phantom_hu()
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((0.7, 0.8, 2.5))
    sitk.WriteImage(image, "case.nii.gz")
    Path("case.nii.gz").rename("Case 1.NII.GZ")
    scan = api.read_ct("Case 1.NII.GZ")
    assert scan.name == "Case 1"
    np.testing.assert_array_equal(scan.hu, hu)
    assert scan.spacing == pytest.approx((2.5, 0.8, 0.7))
    assert api.read_ct("scan").name == "scan"
    scan.hu[:] = 0  # a copy
    np.testing.assert_array_equal(scan.hu, hu)


def test_a_notebook_hears_nothing_unless_it_asks(notebook: Path) -> None:
    def forget_modality(ct: Any, index: int) -> None:
        del ct.Modality

    write_dicom(notebook / "odd", phantom_hu(), forget_modality)
    code = (
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "import lungseg, numpy as np\n"
        "lungs = lungseg.Segmenter('demo/run')\n"
        "lungs.segment(np.load('ct.npy'))\n"
        "found = lungs.segment_volume('odd')\n"
        "assert any('Modality' in remark for remark in found.remarks)\n"
        "lungseg.infer(lungseg.Config(), ['odd'], 'masks', run='demo/run', overwrite=True)\n"
    )
    done = run_python(code, notebook)
    assert (done.stdout, done.stderr) == ("", "")
    done = run_python("import logging; logging.basicConfig(level='INFO')\n" + code, notebook)
    assert "WARNING:lungseg:odd: no_modality" in done.stderr
    assert "INFO:lungseg:device: CPU" in done.stderr
    (row,) = read_csv(notebook / "masks" / "cases.csv")
    assert "Modality" in row["detail"]


# Scores.


def test_scores_are_those_of_evaluate(notebook: Path) -> None:
    from lungseg.verbs.evaluate import evaluate_folders

    rng = np.random.default_rng(0)
    truth = np.zeros((6, 20, 24), np.uint8)
    truth[1:5, 4:15, 3:12] = 1
    mask = truth * (rng.random(truth.shape) > 0.2)
    mask[2:5, 16:18, 3:20] = 1
    for name, labels in (("truth", truth), ("pred", mask)):
        Path(name).mkdir()
        image = sitk.GetImageFromArray(labels.astype(np.uint8))
        image.SetSpacing((0.7, 0.8, 2.5))
        sitk.WriteImage(image, f"{name}/case.mha")
    result = evaluate_folders(Config(), "pred", "truth", "scores")
    lung = result.summary["overall"]["lung"]
    scores = api.score(truth, mask, spacing=(2.5, 0.8, 0.7))
    assert scores.keys() == {*lung, "pixel_accuracy"}
    for name, summary in lung.items():
        assert scores[name] == pytest.approx(summary["mean"], abs=1e-5), name
    both = np.count_nonzero(truth * mask)
    assert scores["dice"] == pytest.approx(2 * both / (truth.sum() + mask.sum()))
    assert scores["pixel_accuracy"] == pytest.approx(np.mean(truth == mask))
    assert all(type(value) is float for value in scores.values())


def test_a_slice_without_spacing_is_scored_in_pixels() -> None:
    truth = np.zeros((10, 10), bool)
    truth[2:6, 2:6] = True
    scores = api.score(truth, np.roll(truth, 1, axis=0), tolerances=(0.5, 1))
    assert scores["dice"] == 0.75
    assert scores["hd95"] == 1
    # A row of each mask is one pixel from the other's: 16 of 24 surface pixels lie on it.
    assert scores["nsd_1"] == 1
    assert scores["nsd_0.5"] < 1
    assert scores["volume_difference"] == 0


def test_empty_masks_are_scored_by_the_rules_of_evaluate() -> None:
    empty = np.zeros((3, 4), np.uint8)
    assert api.score(empty, empty)["dice"] == 1
    assert api.score(empty, empty)["hd95"] == 0
    alone = api.score(empty, empty + 1)
    assert (alone["dice"], alone["hd95"]) == (0, 5)
    # Sides are lung.
    assert api.score(empty + 1, empty + 2)["dice"] == 1


@pytest.mark.parametrize(
    ("truth", "mask", "options", "what"),
    [
        (np.ones((3, 4)), np.ones((4, 3)), {}, r"\(3, 4\), mask \(4, 3\)"),
        (np.ones(3), np.ones(3), {}, "truth: expected"),
        (np.ones((3, 4)), np.full((3, 4), 0.5), {}, "p > 0.5"),
        (np.ones((3, 4)), np.ones((3, 4)), {"spacing": (1, 1, 1)}, "each of 2 axes"),
        (np.ones((3, 4)), np.ones((3, 4)), {"spacing": (1, 0)}, "positive size"),
        (np.ones((3, 4)), np.ones((3, 4)), {"tolerances": (0,)}, "tolerances"),
        (np.ones((3, 4)), np.ones((3, 4)), {"tolerances": 2}, "tolerances"),
        (np.ones((3, 4)), np.ones((3, 4)), {"tolerances": (1, np.nan)}, "tolerances"),
        (np.ones((3, 4)), np.ones((3, 4)), {"spacing": 2}, "positive size"),
        (np.ones((3, 4)), np.ones((3, 4)), {"spacing": (1, np.nan)}, "positive size"),
        (np.ones((3, 4)), np.ones((3, 4)), {"spacing": (np.inf, 1)}, "positive size"),
        (np.ones((3, 4)), -np.ones((3, 4), int), {}, "mask: .* 0 and above"),
        (np.full((3, 4), np.inf), np.ones((3, 4)), {}, "truth: .*whole numbers"),
        ([[1], [1, 0]], np.ones((3, 4)), {}, "truth: .*one length"),
        (np.ones((3, 4)), np.ma.masked_equal(np.eye(3, 4), 1), {}, "mask: .*masked array"),
    ],
)
def test_masks_that_cannot_be_scored_are_refused(
    truth: Any, mask: Any, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(api.UsageError, match=what):
        api.score(truth, mask, **options)


def test_spacing_is_given_by_its_name() -> None:
    mask = np.ones((4, 4), bool)
    with pytest.raises(TypeError):
        api.score(mask, mask, (2.0, 2.0))  # type: ignore[call-arg]
    assert api.score(truth=mask, mask=mask)["dice"] == 1
