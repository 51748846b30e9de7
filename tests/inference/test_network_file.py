"""The ends of a network that are computed here give what ONNX Runtime gives."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lungseg.inference.network_file import Ends, cut_ends
from lungseg.inference.predictor import Predictor
from lungseg.system.shipped import SHIPPED, as_run

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
    found = ends.finish(run(content, ends.begin(batch)), (SIDE, SIDE))
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
    found = Ends(channels_first=True, softmax=True).finish(scores, (1, 3))
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


def test_the_shipped_network_is_loaded_without_its_ends() -> None:
    path = as_run(SHIPPED) / "model.onnx"
    cut = cut_ends(path)
    assert cut is not None
    left = {node.op_type for node in onnx.load_from_string(cut[0]).graph.node[-1:]}
    assert left == {"Conv"}
    grey = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    expected = run(str(path), grey[None, ..., None].astype(np.float32))
    np.testing.assert_allclose(Predictor(path).probabilities([grey]), expected, atol=1e-6)
