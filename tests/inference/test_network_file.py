"""The ends of a network that are computed here give what ONNX Runtime gives."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.inference import network_file
from lungseg.inference.network_file import (
    Ends,
    _as_varint,
    _enlargement,
    _field,
    _fields,
    _Node,
    _varint,
    cut_ends,
)
from lungseg.inference.predictor import Predictor
from lungseg.system.shipped import SHIPPED, as_run
from lungseg.system.tables import write_json

SIDE = 12
TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def graph(
    path: Path,
    classes: int = 2,
    scales: tuple[float, ...] = (1, 1, 3, 3),
    softmax_last: bool = False,
    factors: int = 1,
    with_scores: bool = False,
    **resize: Any,
) -> Path:
    """Write a network that scales, convolves with a step of 3, enlarges, and takes a softmax.

    Args:
        path: the file.
        classes: number of classes.
        scales: factors of the enlargement.
        softmax_last: bring the channels to the last axis before the softmax, not after it.
        factors: how many factors the grey values have, one per channel if there are several.
        with_scores: let another node read the scores as well.
        resize: attributes of the enlargement.
    """
    rng = np.random.default_rng(0)
    given = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} | resize
    tensors = {
        "factor": rng.uniform(0.01, 0.02, factors),
        "summand": np.array(-1.0),
        "weights": rng.normal(size=(classes, factors, 3, 3)),
        "scales": np.array(scales),
    }
    end: list[tuple[str, list[str], str, dict[str, Any]]]
    if softmax_last:
        end = [("Transpose", ["enlarged"], "last", {"perm": TO_LAST})]
        end += [("Softmax", ["last"], "classes", {"axis": -1})]
    else:
        end = [("Softmax", ["enlarged"], "first", {"axis": 1})]
        end += [("Transpose", ["first"], "classes", {"perm": TO_LAST})]
    if with_scores:
        end[-1] = (*end[-1][:2], "as before", end[-1][3])
        end += [("ReduceMax", ["enlarged"], "most", {"keepdims": 0})]
        end += [
            ("Mul", ["most", "no"], "nothing", {}),
            ("Add", ["as before", "nothing"], "classes", {}),
        ]
        tensors["no"] = np.array(0.0)
    steps = [
        ("Mul", ["grey", "factor"], "product", {}),
        ("Add", ["summand", "product"], "scaled", {}),
        ("Transpose", ["scaled"], "channels first", {"perm": TO_FIRST}),
        (
            "Conv",
            ["channels first", "weights"],
            "scores",
            {"strides": [3, 3], "kernel_shape": [3, 3]},
        ),
        ("Resize", ["scores", "", "scales"], "enlarged", given),
        *end,
    ]
    nodes = [helper.make_node(op, ins, [out], **more) for op, ins, out, more in steps]
    shape = ["slices", SIDE, SIDE]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "ends",
            [helper.make_tensor_value_info("grey", TensorProto.FLOAT, [*shape, factors])],
            [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [*shape, classes])],
            [
                onnx.numpy_helper.from_array(values.astype(np.float32), name)
                for name, values in tensors.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def run(model: str | bytes, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])


def greys(channels: int = 1) -> np.ndarray:
    shape = (3, SIDE, SIDE, channels)
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.float32)


def check_same(path: Path, channels: int = 1) -> Ends:
    """Check that a network without its ends, with these ends, is the same; return the ends."""
    cut = cut_ends(path)
    assert cut is not None
    content, ends = cut
    batch = greys(channels)
    found = ends.finish(run(content, ends.begin(batch)))
    np.testing.assert_allclose(found, run(str(path), batch), atol=1e-6)
    np.testing.assert_array_equal(batch, greys(channels))  # is left as it was
    return ends


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("softmax_last", [False, True])
def test_a_network_without_its_ends_gives_the_same(
    classes: int, softmax_last: bool, tmp_path: Path
) -> None:
    ends = check_same(graph(tmp_path / "a.onnx", classes, softmax_last=softmax_last))
    assert ends.softmax
    assert ends.offset == -1


def test_large_scores_become_0_and_1_without_a_warning() -> None:
    scores = np.array([[[[400.0, -400.0, 0.0]], [[-400.0, 400.0, 0.0]]]], np.float32)
    found = Ends(channels_first=True, softmax=True).finish(scores)
    assert found[0, 0].tolist() == [[1, 0], [0, 1], [0.5, 0.5]]


@pytest.mark.parametrize(
    "resize",
    [
        {"coordinate_transformation_mode": "align_corners"},
        {"mode": "nearest"},
        {"exclude_outside": 1, "mode": "cubic"},
    ],
)
def test_another_enlargement_is_left_to_onnx_runtime(
    resize: dict[str, Any], tmp_path: Path
) -> None:
    path = graph(tmp_path / "a.onnx", **resize)
    check_same(path)
    content, _ = cut_ends(path) or (b"", None)
    assert "Resize" in {node.op_type for node in onnx.load_from_string(content).graph.node}


def test_scores_that_are_used_again_are_not_cut(tmp_path: Path) -> None:
    ends = check_same(graph(tmp_path / "a.onnx", with_scores=True))
    assert not ends.softmax


def test_a_factor_of_each_channel_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    ends = check_same(graph(tmp_path / "a.onnx", factors=3), channels=3)
    assert (ends.scale, ends.offset) == (1, 0)
    assert ends.softmax


def test_what_is_no_onnx_file_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    whole = graph(tmp_path / "a.onnx").read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / "b.onnx").write_bytes(whole[:length])
        assert cut_ends(tmp_path / "b.onnx") is None
    (tmp_path / "b.onnx").write_bytes(b"no network" * 50)
    assert cut_ends(tmp_path / "b.onnx") is None
    assert cut_ends(tmp_path / "absent.onnx") is None


def changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Change a network that `graph` wrote, into one that ONNX Runtime need not be able to load."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def node(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.op_type == op)


def replace_tensor(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    kept = [each for each in model.graph.initializer if each.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, onnx.numpy_helper.from_array(values, name)])


def forget_shape(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_value_info("classes", TensorProto.FLOAT, None)
    model.graph.output[0].CopyFrom(value)


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_a_softmax_over_several_axes_is_left_to_onnx_runtime(domain: str, tmp_path: Path) -> None:
    def as_of_onnx_12(model: onnx.ModelProto) -> None:
        model.opset_import[0].version, model.opset_import[0].domain = 12, domain
        node(model, "Resize").input[1] = "roi"
        replace_tensor(model, "roi", np.zeros(0, np.float32))

    path = changed(graph(tmp_path / "a.onnx"), as_of_onnx_12)
    assert run(str(path), greys()).sum() == pytest.approx(3)  # over classes, rows and columns
    assert cut_ends(path) is None


def test_a_second_transpose_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    def transpose_again(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "once"
        again = helper.make_node("Transpose", ["once"], ["classes"], perm=TO_LAST)
        model.graph.node.append(again)
        forget_shape(model)

    ends = check_same(changed(graph(tmp_path / "a.onnx"), transpose_again))
    assert not ends.softmax


def test_a_softmax_over_rows_is_computed_over_them(tmp_path: Path) -> None:
    def transpose_before(model: onnx.ModelProto) -> None:
        last, softmax = model.graph.node[-1], node(model, "Softmax")
        softmax.input[0] = "columns first"
        before = helper.make_node("Transpose", ["enlarged"], ["columns first"], perm=TO_LAST)
        nodes = [*model.graph.node[:-2], before, softmax, last]
        copies = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
        forget_shape(model)

    check_same(changed(graph(tmp_path / "a.onnx"), transpose_before))


def test_a_cycle_ends(tmp_path: Path) -> None:
    def bite_its_tail(model: onnx.ModelProto) -> None:
        model.graph.node[-1].input[0] = "classes"

    _, ends = cut_ends(changed(graph(tmp_path / "a.onnx"), bite_its_tail)) or (b"", Ends())
    assert not ends.softmax


def test_large_scores_of_three_classes_become_0_and_1_and_stay_as_they_are() -> None:
    scores = np.array([[[[400.0, -400.0, 0.0]]]], np.float32)
    before = scores.copy()
    found = Ends(softmax=True).finish(scores)
    assert found.tolist() == [[[[1, 0, 0]]]]
    np.testing.assert_array_equal(scores, before)


def test_a_large_file_is_left_to_onnx_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = graph(tmp_path / "a.onnx")
    size = path.stat().st_size
    monkeypatch.setattr(network_file, "MAX_BYTES", size)
    assert cut_ends(path) is not None
    monkeypatch.setattr(network_file, "MAX_BYTES", size - 1)
    assert cut_ends(path) is None


@pytest.mark.parametrize("kind", [np.int32, np.float16, np.float64])
def test_a_constant_that_is_no_float32_is_left_to_onnx_runtime(kind: type, tmp_path: Path) -> None:
    # Two of float16 have the bytes of one of float32.
    values: np.ndarray = np.ones(2 if kind is np.float16 else 1, kind)
    path = graph(tmp_path / "a.onnx")
    changed(path, lambda model: replace_tensor(model, "factor", values))
    _, ends = cut_ends(path) or (b"", None)
    assert ends is not None
    assert (ends.scale, ends.offset) == (1, 0)


def test_a_softmax_over_rows_of_channels_last_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    def over_rows(model: onnx.ModelProto) -> None:
        node(model, "Softmax").attribute[0].i = 1

    ends = check_same(changed(graph(tmp_path / "a.onnx", softmax_last=True), over_rows))
    assert not ends.softmax


@pytest.mark.parametrize("factor", [np.inf, np.nan, 1.5, 0.5])
def test_a_factor_that_is_no_whole_number_is_left_to_onnx_runtime(
    factor: float, tmp_path: Path
) -> None:
    scales = np.array([1, 1, factor, 3], np.float32)
    path = graph(tmp_path / "a.onnx")
    changed(path, lambda model: replace_tensor(model, "scales", scales))
    _, ends = cut_ends(path) or (b"", None)
    assert ends is not None
    assert ends.enlargement == (1, 1)


@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 3, 1)])
def test_scores_are_enlarged_by_the_factors_of_the_file(
    scales: tuple[float, ...], tmp_path: Path
) -> None:
    path = changed(graph(tmp_path / "a.onnx", scales=scales), forget_shape)
    content, ends = cut_ends(path) or (b"", Ends())
    assert ends.enlargement == scales[2:]
    expected = run(str(path), greys())
    np.testing.assert_allclose(ends.finish(run(content, ends.begin(greys()))), expected, atol=1e-6)


def test_factors_of_axes_in_another_order_are_left_to_onnx_runtime(tmp_path: Path) -> None:
    def name_axes(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 18
        node(model, "Resize").attribute.append(helper.make_attribute("axes", [0, 1, 3, 2]))
        replace_tensor(model, "scales", np.array([1, 1, 1, 3], np.float32))
        forget_shape(model)

    path = changed(graph(tmp_path / "a.onnx"), name_axes)
    content, ends = cut_ends(path) or (b"", Ends())
    expected = run(str(path), greys())
    np.testing.assert_allclose(ends.finish(run(content, ends.begin(greys()))), expected, atol=1e-6)


def test_a_number_without_an_end_is_not_read_to_the_end_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08" + b"\xff" * 50_000 + b"\x01")
    started = time.process_time()
    assert cut_ends(tmp_path / "a.onnx") is None
    assert (
        time.process_time() - started < 0.05
    )  # each byte of such a number costs more than the last


def test_an_operator_of_another_domain_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    def as_sigmoid(model: onnx.ModelProto) -> None:
        node(model, "Softmax").domain = "mine"
        model.opset_import.append(helper.make_opsetid("mine", 1))
        body = [helper.make_node("Sigmoid", ["x"], ["y"])]
        sets = [helper.make_opsetid("", 17)]
        function = helper.make_function("mine", "Softmax", ["x"], ["y"], body, sets, ["axis"])
        model.functions.append(function)

    ends = check_same(changed(graph(tmp_path / "a.onnx"), as_sigmoid))
    assert not ends.softmax


def test_weights_in_another_file_are_those_beside_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for name, factor in (("here", 1), ("there", -1)):
        (tmp_path / name).mkdir()
        path = graph(tmp_path / name / "a.onnx")
        model = onnx.load(path)
        (weights,) = [each for each in model.graph.initializer if each.name == "weights"]
        replace_tensor(model, "weights", factor * onnx.numpy_helper.to_array(weights))
        more: dict[str, Any] = {"location": "weights", "size_threshold": 50}
        onnx.save_model(model, path, save_as_external_data=True, **more)
        found[name] = run(str(path), greys())
    assert not np.allclose(found["here"], found["there"])
    monkeypatch.chdir(tmp_path / "there")
    path = describe(tmp_path / "here", 1)
    slices = list(greys()[..., 0].astype(np.uint8))
    np.testing.assert_allclose(Predictor(path).probabilities(slices), found["here"], atol=1e-6)


def describe(folder: Path, channels: Literal[1, 3]) -> Path:
    """Write the `model.json` of a network of two classes that `graph` wrote; return its path."""
    data = DataConfig(image_size=(SIDE, SIDE), channels=channels)
    given = {
        "size": [SIDE, SIDE],
        "channels": channels,
        "window": list(data.window),
        "unsigned_16bit": data.unsigned_16bit,
    }
    colours = {name: list(colour) for name, colour in data.rgb_map.items()}
    write_json(folder / "model.json", {"input": given, "rgb_map": colours})
    return folder / "a.onnx"


@pytest.mark.parametrize("cut", [True, False])
def test_a_network_of_half_precision_predicts(
    cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def halve(model: onnx.ModelProto) -> None:
        to_half = helper.make_node("Cast", ["scaled"], ["half"], to=TensorProto.FLOAT16)
        node(model, "Transpose").input[0] = "half"
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:2], to_half, *nodes[2:]])
        (weights,) = [each for each in model.graph.initializer if each.name == "weights"]
        replace_tensor(model, "weights", onnx.numpy_helper.to_array(weights).astype(np.float16))
        shape = ["slices", SIDE, SIDE, 2]
        half = helper.make_tensor_value_info("classes", TensorProto.FLOAT16, shape)
        model.graph.output[0].CopyFrom(half)

    path = changed(graph(tmp_path / "a.onnx"), halve)
    describe(tmp_path, 1)
    if not cut:
        monkeypatch.setattr("lungseg.inference.predictor.cut_ends", lambda path: None)
    slices = list(greys()[..., 0].astype(np.uint8))
    found = Predictor(path).probabilities(slices)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run(str(path), greys()), atol=2e-3)


@pytest.mark.parametrize("cut", [True, False])
def test_classes_of_another_size_than_the_slice_are_refused(
    cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = ["slices", "height", "width", 2]
    value = helper.make_tensor_value_info("classes", TensorProto.FLOAT, shape)
    path = graph(tmp_path / "a.onnx", scales=(1, 1, 2, 2))
    changed(path, lambda model: model.graph.output[0].CopyFrom(value))
    describe(tmp_path, 1)
    if not cut:
        monkeypatch.setattr("lungseg.inference.predictor.cut_ends", lambda path: None)
    predictor = Predictor(path)
    with pytest.raises(DataError, match="gives classes as \\(1, 8, 8\\)"):
        predictor.probabilities([np.zeros((SIDE, SIDE), np.uint8)])


def test_a_network_of_a_fixed_number_of_slices_is_refused(tmp_path: Path) -> None:
    def fix(model: onnx.ModelProto) -> None:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    changed(graph(tmp_path / "a.onnx"), fix)
    with pytest.raises(DataError, match="takes exactly 1 slices at a time"):
        Predictor(describe(tmp_path, 1))


def test_the_shipped_network_is_loaded_without_its_ends() -> None:
    path = as_run(SHIPPED) / "model.onnx"
    cut = cut_ends(path)
    assert cut is not None
    left = {node.op_type for node in onnx.load_from_string(cut[0]).graph.node[-1:]}
    assert left == {"Conv"}
    grey = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    expected = run(str(path), grey[None, ..., None].astype(np.float32))
    np.testing.assert_allclose(Predictor(path).probabilities([grey]), expected, atol=1e-6)


@pytest.mark.parametrize(("op", "other"), [("Mul", "Div"), ("Add", "Sub")])
def test_another_beginning_is_left_to_onnx_runtime(op: str, other: str, tmp_path: Path) -> None:
    def exchange(model: onnx.ModelProto) -> None:
        node(model, op).op_type = other

    ends = check_same(changed(graph(tmp_path / "a.onnx"), exchange))
    assert (ends.scale, ends.offset, ends.softmax) == (1, 0, True)


def test_grey_values_that_are_used_again_are_not_scaled_here(tmp_path: Path) -> None:
    def read_again(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("ReduceMax", ["grey"], ["unused"]))

    ends = check_same(changed(graph(tmp_path / "a.onnx"), read_again))
    assert (ends.scale, ends.offset, ends.softmax) == (1, 0, True)


def test_a_beginning_alone_is_cut(tmp_path: Path) -> None:
    def end_with_scores(model: onnx.ModelProto) -> None:
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node[:4]]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.graph.node[-1].output[0] = "classes"
        forget_shape(model)

    path = changed(graph(tmp_path / "a.onnx"), end_with_scores)
    assert check_same(path) == Ends(scale=check_same(path).scale, offset=-1.0)

    def without_beginning(model: onnx.ModelProto) -> None:
        node(model, "Mul").op_type = "Div"

    # With neither, nothing is to be done.
    assert cut_ends(changed(path, without_beginning)) is None


@pytest.mark.parametrize(
    ("scales", "softmax_last"),
    [
        ((1, 1, 3), False),
        ((1, 1, 3, 3, 1), False),
        ((2, 1, 3, 3), False),
        ((1, 2, 3, 3), False),
        ((1, 3, 3, 2), True),
        ((2, 3, 3, 1), True),
    ],
)
def test_factors_of_other_axes_than_rows_and_columns_are_left_to_onnx_runtime(
    scales: tuple[float, ...], softmax_last: bool
) -> None:
    name = _Node("Resize", ["scores", "", "scales"], ["enlarged"], half_pixel())
    tensors = {"scales": np.array(scales, np.float32)}
    assert _enlargement(name, tensors, channels_first=not softmax_last) is None


def half_pixel(**more: Any) -> list[Any]:
    """Return the attributes of an enlargement as they are in a file."""
    given = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} | more
    attributes = helper.make_node("Resize", [], [], **given).attribute
    return [memoryview(each.SerializeToString()) for each in attributes]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "expected"),
    [
        ("Resize", ["x", "", "scales"], {}, (2, 5)),
        ("Upsample", ["x", "", "scales"], {}, None),
        ("Resize", ["x", "", "scales", "sizes"], {}, None),
        ("Resize", ["x", "scales"], {}, None),
        ("Resize", ["x", "", "other"], {}, None),
        ("Resize", ["x", "", "scales"], {"mode": "cubic"}, None),
        ("Resize", ["x", "", "scales"], {"antialias": 1}, None),
        ("Resize", ["x", "", "scales"], {"antialias": 0, "exclude_outside": 0}, (2, 5)),
        ("Resize", ["x", "", "scales"], {"exclude_outside": 1}, None),
        ("Resize", ["x", "", "scales"], {"axes": [0, 1, 2, 3]}, None),
        ("Resize", ["x", "", "scales"], {"coordinate_transformation_mode": "asymmetric"}, None),
    ],
)
@pytest.mark.parametrize("channels_first", [True, False])
def test_an_enlargement_is_one_that_resizing_an_image_repeats(
    op: str,
    inputs: list[str],
    attributes: dict[str, Any],
    expected: tuple[int, int] | None,
    channels_first: bool,
) -> None:
    scales = [1, 1, 2, 5] if channels_first else [1, 2, 5, 1]
    tensors = {"scales": np.array(scales, np.float32)}
    found = _enlargement(
        _Node(op, inputs, ["y"], half_pixel(**attributes)), tensors, channels_first
    )
    assert found == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x0b", "kind 3"),
        (b"\x0a\x05abcd", "cut short"),
        (b"\x0d\x01\x02\x03", "cut short"),  # three of four bytes
        (b"\x09" + 7 * b"\x01", "cut short"),  # seven of eight
        (b"\x08" + 10 * b"\xff" + b"\x01", "more than 64 bits"),
    ],
)
def test_a_damaged_message_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(_fields(memoryview(content)))
    with pytest.raises(ValueError, match="a number in place of a message"):
        list(_fields(5))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16383, 16384, 2**32, 2**63 - 1, 2**64 - 1])
def test_a_number_is_written_seven_bits_at_a_time(value: int) -> None:
    bits = f"{value:b}"
    bits = bits.zfill(-(-len(bits) // 7) * 7)
    groups = [int(bits[k : k + 7], 2) for k in range(0, len(bits), 7)][::-1]
    expected = bytes([*(group + 128 for group in groups[:-1]), groups[-1]])
    assert _as_varint(value) == expected
    assert _varint(memoryview(b"??" + expected + b"?"), 2) == (value, 2 + len(expected))
    # Field 3 of whole numbers, and field 2 of bytes, one after the other.
    content = memoryview(b"\x18" + expected + b"\x12\x01x" + b"\x25abcd" + b"\x29abcdefgh")
    assert [(number, kept) for number, kept, _ in _fields(content)] == [
        (3, value),
        (2, b"x"),
        (4, b"abcd"),
        (5, b"abcdefgh"),
    ]
    assert b"".join(raw for *_, raw in _fields(content)) == content
    assert _field(2, b"x" * 200) == b"\x12\xc8\x01" + b"x" * 200


def test_attributes_are_whole_numbers_with_their_sign_texts_and_lists() -> None:
    made = helper.make_node("Any", [], [], axis=-1, perm=[0, -2, 3], mode="linear", to=2**62)
    raw: list[Any] = [memoryview(each.SerializeToString()) for each in made.attribute]
    expected = {"axis": [-1], "perm": [0, -2, 3], "mode": [b"linear"], "to": [2**62]}
    assert _Node("Any", [], [], raw).attributes == expected


def test_scores_are_not_enlarged_by_1_and_stay_as_they_are() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    before = scores.copy()
    for factors in ((1, 1), (2, 3)):
        found = Ends(channels_first=True, enlargement=factors, softmax=True).finish(scores)
        assert found.shape == (2, 4 * factors[0], 5 * factors[1], 3)
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
        np.testing.assert_array_equal(scores, before)
    powers = np.exp(before.astype(float))
    expected = np.moveaxis(powers / powers.sum(axis=1, keepdims=True), 1, -1)
    found = Ends(channels_first=True, softmax=True).finish(scores)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert Ends(channels_first=True).finish(scores) is scores


@pytest.mark.parametrize(
    ("scale", "offset", "expected"), [(1, 0, [2, 4]), (1, 3, [5, 7]), (2, 0, [4, 8])]
)
def test_grey_values_are_scaled_into_a_new_array(
    scale: float, offset: float, expected: list[float]
) -> None:
    batch = np.array([2, 4], np.float32)
    found = Ends(scale=scale, offset=offset).begin(batch)
    assert found.tolist() == expected
    assert found.dtype == np.float32
    assert batch.tolist() == [2, 4]
    assert (found is batch) == ((scale, offset) == (1, 0))


def test_of_two_enlargements_the_last_is_computed_here(tmp_path: Path) -> None:
    def enlarge_twice(model: onnx.ModelProto) -> None:
        replace_tensor(model, "once more", np.array([1, 1, 1, 3], np.float32))
        first = node(model, "Resize")
        again = onnx.NodeProto.FromString(first.SerializeToString())
        again.input[0], again.input[2], again.output[0] = "enlarged", "once more", "twice"
        node(model, "Softmax").input[0] = "twice"
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:5], again, *nodes[5:]])

    path = changed(graph(tmp_path / "a.onnx", scales=(1, 1, 3, 1)), forget_shape)
    assert check_same(changed(path, enlarge_twice)).enlargement == (1, 3)


def test_a_transpose_to_another_order_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    def exchange_rows_and_columns(model: onnx.ModelProto) -> None:
        model.graph.node[-1].attribute[0].ints[:] = [0, 3, 2, 1]
        forget_shape(model)

    ends = check_same(changed(graph(tmp_path / "a.onnx"), exchange_rows_and_columns))
    assert not ends.softmax
