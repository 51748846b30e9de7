"""The comparison with other packages: counting work, adding up processes, writing the tables."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lungseg.system.tables import read_json
from scripts.bench import onnx_flop, peers, process_tree, write_peers
from tests.support.places import REPOSITORY


def small_network(path: Path, *, known_size: bool = True) -> None:
    """Write a network of three convolutions: plain with stride 2, by groups, transposed."""
    from onnx import TensorProto, helper, save

    def kernel(name: str, *shape: int) -> Any:
        size = 1
        for side in shape:
            size *= side
        return helper.make_tensor(name, TensorProto.FLOAT, shape, [0.0] * size)

    side = 32 if known_size else "side"
    nodes = [
        helper.make_node("Conv", ["image", "k1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "k2"], ["b"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("ConvTranspose", ["c", "k3"], ["d"], strides=[2, 2]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["slices", 3, side, side])
    scores = helper.make_tensor_value_info("d", TensorProto.FLOAT, ["slices", 5, None, None])
    kernels = [kernel("k1", 8, 3, 3, 3), kernel("k2", 8, 1, 3, 3), kernel("k3", 8, 5, 2, 2)]
    save(helper.make_model(helper.make_graph(nodes, "g", [image], [scores], kernels)), path)


def test_the_work_of_convolutions_is_that_counted_by_hand(tmp_path: Path) -> None:
    small_network(tmp_path / "model.onnx")
    plain = 16 * 16 * 8 * (3 * 3 * 3)  # each output value: a 3 x 3 kernel over three channels
    groups = 16 * 16 * 8 * (3 * 3 * 1)  # each output value: one channel
    transposed = 32 * 32 * 5 * 8  # 2 x 2 with stride 2: each output value has one pixel
    by_hand = 2 * (plain + groups + transposed) / 1e9
    assert onnx_flop.gflop(tmp_path / "model.onnx") == pytest.approx(by_hand, rel=1e-12)


def test_a_size_that_is_unknown_is_no_zero(tmp_path: Path) -> None:
    small_network(tmp_path / "model.onnx", known_size=False)
    with pytest.raises(ValueError, match="the size of a is unknown"):
        onnx_flop.gflop(tmp_path / "model.onnx")


def test_the_shipped_network_needs_what_inspect_says() -> None:
    measured = read_json(REPOSITORY / "lungseg" / "models" / "measured.json")
    expected = measured["networks"]["resunet"]["gflop"]
    assert onnx_flop.gflop(peers.SHIPPED) == pytest.approx(expected, rel=1e-6)


HOLD = """
import subprocess, sys, time
held = bytearray(80 << 20)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
time.sleep(0.5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_time_of_a_process_and_its_child_are_added_up(tmp_path: Path) -> None:
    alone = process_tree.measure([sys.executable, "-c", HOLD], tmp_path / "log")
    both = process_tree.measure([sys.executable, "-c", HOLD, HOLD], tmp_path / "log")
    assert 80 < alone.peak_mib < 130
    assert 160 < both.peak_mib < 230
    assert 0.5 <= alone.cpu_seconds < 1.0 <= both.cpu_seconds
    assert both.seconds > 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no weights')"]
    with pytest.raises(RuntimeError, match=r"exit code 1\. no weights"):
        process_tree.measure(command, tmp_path / "log")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_descendants_are_this_process_and_those_below_it() -> None:
    tree = process_tree.descendants(os.getpid())
    assert tree[0] == os.getpid()
    assert os.getppid() not in tree


def test_each_environment_gets_its_packages(tmp_path: Path) -> None:
    bench = peers.Bench(tmp_path)
    assert bench.requirements("lungmask", None) == [peers.CPU_BUILD, ["lungmask"]]
    assert bench.requirements("nnunet", "torch==2.13.0") == [["torch==2.13.0", "nnunetv2"]]
    assert bench.requirements("lungseg", "torch==2.13.0")[1] == ["--no-deps", str(REPOSITORY)]


def test_every_row_of_the_table_is_measured(tmp_path: Path) -> None:
    measured = set(peers.Bench(tmp_path).commands("model"))
    assert measured == {*write_peers.ROWS, "lungmask_as_initialised"}
    assert measured >= set(peers.ONCE)


def turn(seconds: float, cpu: float, peak: float, others: float = 1.0) -> dict[str, float]:
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak, "others": others}


def results() -> dict[str, Any]:
    return {
        "date": "2026-12-01",
        "hardware": {"cores": 2, "processor": "AMD EPYC"},
        "slices": 67,
        "versions": {"lungmask": "1", "nnunetv2": "2", "torch": "3", "onnxruntime": "4"},
        "installed_mb": {"lungseg": 700.4, "lungmask": 1500.0, "nnunet": 2000.0},
        "networks": {
            "lungseg": {"gflop": 1.25},
            "lungmask": {"gflop": 96.2},
            "nnunet": {"gflop": 50.0, "patch": [512, 448], "passes_with_mirroring": 4},
        },
        "turns": {
            "lungseg": [turn(5.0, 10.0, 500.0), turn(4.0, 11.0, 600.0, others=1.4)],
            "lungmask": [turn(40.0, 80.0, 3000.0), turn(60.0, 75.0, 3100.0)],
            "nnunet_mirrored": [turn(400.0, 800.0, 3000.0, others=0.3)],
            "nnunet": [turn(100.0, 200.0, 3000.0)],
            "lungmask_as_initialised": [turn(70.0, 120.0, 3000.0)],
        },
        "training": {
            "lungseg": {"seconds": 0.06, "cpu_seconds": 0.11, "batch": 8},
            "nnunet": {"seconds": 5.0, "cpu_seconds": 9.0, "batch": 2},
        },
    }


def test_the_best_turn_counts_and_the_largest_peak() -> None:
    assert write_peers.best([turn(5, 10, 500), turn(4, 11, 600)]) == {
        "seconds": 4,
        "cpu_seconds": 10,
        "peak_mib": 600,
    }


def test_the_table_compares_with_ours_and_counts_mirroring() -> None:
    table = write_peers.inference_table(results())
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in table[2:]}
    assert rows["| lungseg, as it comes"] == ["4", "1", "10", "1", "600", "700", "1.25 |"]
    assert rows["| lungmask, as it comes (20 slices at a time)"] == [
        *("40", "10", "75", "7.5", "3,100", "1,500", "96.2 |")
    ]
    assert rows["| nnU-Net 2-D, `--disable_tta`"][-1] == "50 |"
    assert rows["| nnU-Net 2-D, as it comes (mirrored)"][-1] == "200 |"
    assert len(rows) == 4  # what was not measured has no row


def test_the_section_says_the_load_and_what_is_not_compared() -> None:
    text = write_peers.section(results()).replace("\n", " ")
    assert "kept 0.3 to 1.4 cores busy" in text
    assert "Accuracy is not compared" in text
    assert "takes 70 s, and 120 s of the processor" in text
    assert "| nnU-Net 2-D | 5 | 9 | 2 |" in text


def test_a_training_that_was_not_measured_has_no_table() -> None:
    text = write_peers.section({**results(), "training": {}})
    assert text.endswith("A training step is not measured yet.\n")
    assert "slices in a batch" not in text


def test_readme_has_two_lines_with_the_ratios() -> None:
    text = write_peers.readme_lines(results())
    assert len(text.splitlines()) == 2
    ratios = "lungmask takes 7.5 times and nnU-Net 2-D 20 times the processor time of lungseg"
    assert ratios in text.replace("\n", " ")


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = f"before\n{write_peers.BEGIN}old\n{write_peers.END}after\n"
    new = write_peers.between(page, "new\n")
    assert new == f"before\n{write_peers.BEGIN}new\n{write_peers.END}after\n"
    with pytest.raises(ValueError, match="each once"):
        write_peers.between("before\n", "new\n")


def test_a_row_that_readme_quotes_must_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results()
    found["turns"]["nnunet"] = []
    monkeypatch.setattr(write_peers, "RESULTS", tmp_path / "peers.json")
    write_peers.RESULTS.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(SystemExit, match="nnunet not measured; run make bench-peers"):
        write_peers.main()


def test_the_pages_have_what_the_results_say() -> None:
    page, readme = (path.read_text("utf-8") for path in (write_peers.PAGE, write_peers.README))
    section = lines = ""
    if write_peers.RESULTS.exists():
        found = read_json(write_peers.RESULTS)
        section, lines = write_peers.section(found), write_peers.readme_lines(found) + "\n"
    assert page == write_peers.between(page, section)
    assert readme == write_peers.between(readme, lines)
