"""What a mask was made from, hashed as `sha256sum` does."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from lungseg.config.schema import InferConfig
from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.inference.origins import Origin, origin_of, sha256_of, sha256_of_models


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(folder: Path, **contents: bytes) -> list[Path]:
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    return paths


def test_a_file_has_the_hash_of_its_content(tmp_path: Path) -> None:
    (path,) = write(tmp_path, a=b"abc")
    assert sha256_of(path) == digest(b"abc")
    with pytest.raises(DataError, match="absent: cannot be read: No such file"):
        sha256_of(tmp_path / "absent")


def test_a_folder_has_the_hash_of_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    second, first = write(tmp_path / "scan", b=b"2", a=b"1")
    write(tmp_path / "scan" / "deeper", c=b"3")
    lines = f"{digest(b'1')} a\n{digest(b'2')} b"
    assert sha256_of(tmp_path / "scan") == digest(lines.encode())
    assert sha256_of(tmp_path / "scan", (second, first)) == digest(lines.encode())
    deep = tmp_path / "scan" / "deeper" / "c"
    listed = f"{digest(b'2')} b\n{digest(b'3')} deeper/c"
    assert sha256_of(tmp_path / "scan", (deep, second)) == digest(listed.encode())


def test_networks_have_the_hash_of_their_files_and_descriptions(tmp_path: Path) -> None:
    paths = []
    for name in "ab":
        model, _ = write(
            tmp_path / name, **{"model.onnx": name.encode(), "model.json": b"{}" + name.encode()}
        )
        paths.append(model)
    hashes = "\n".join(digest(each) for each in (b"a", b"{}a", b"b", b"{}b"))
    assert sha256_of_models(paths) == digest(hashes.encode())


def test_settings_that_change_no_mask_do_not_count(tmp_path: Path) -> None:
    (path,) = write(tmp_path, a=b"abc")
    item = Input(path, "a", True)

    def made(**settings: object) -> Origin:
        return origin_of(item, "m" * 64, InferConfig.model_validate(settings), "mine")

    plain = made()
    assert (plain.input_sha256, plain.model_sha256, plain.network) == (
        digest(b"abc"),
        "m" * 64,
        "mine",
    )
    assert made(batch_size=1, device="cpu", threads=3, gallery="none") == plain
    for changed in ({"sides": True}, {"flips": True}, {"components": 1}, {"tiles": True}):
        assert made(**changed).changed(plain) == ["settings"]


def test_what_differs_is_named_but_the_name_of_the_network_is_not_compared() -> None:
    one = Origin("1", "2", "3", "shipped")
    assert one.changed(replace(one, network="")) == []
    assert one.changed(replace(one, input_sha256="x", settings_sha256="y")) == ["input", "settings"]
    assert one.changed(Origin("x", "y", "z")) == ["input", "model", "settings"]
