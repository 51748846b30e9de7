"""No command destroys what it reads, or what it did not write, whatever the options say."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lungseg.system.tables import read_csv
from tests.support.notebook import phantom_hu, write_dicom
from tests.support.outputs import READS, WROTE, done, hashes, run


def add_links(place: Path) -> None:
    """Add links of both kinds to every input."""
    (place / "links").mkdir()
    for name in ("raw", "raw/images", "prepared", "dataset", "run", "masks", "ct", "mine"):
        (place / "links" / name.replace("/", "_")).symlink_to(place / name)
    (place / "links" / "all").symlink_to("..")
    shutil.copytree("raw/images", "hard", copy_function=os.link)
    for name in ("original.config", "raw/images/patient01_slice01.png"):
        os.link(name, f"hard_{Path(name).name}")
        (place / "links" / Path(name).name).symlink_to(place / name)


def targets(place: Path) -> list[str]:
    """Return every folder and some files that are there, by several names."""
    folders = [name for name in os.listdir(place) if (place / name).is_dir()]
    inner = ["raw/images", "raw/masks", "dataset/train/images", "prepared/images", "mine/notes"]
    links = [f"links/{name}" for name in os.listdir(place / "links")]
    other_names = [".", "..", str(place / "raw"), "raw/../run", "ct/.", "mine/../prepared"]
    files = ["original.config", "tiny.yaml", "run/model.onnx", "raw/images/patient01_slice01.png"]
    files += [name for name in os.listdir(place) if name.startswith("hard_")]
    return [*folders, *inner, *links, *other_names, *files]


def flags_of(command: str) -> list[tuple[str, ...]]:
    resumes = [("--resume",)] if command.split()[0] in ("train", "infer") else []
    return [(), ("--overwrite",), *resumes]


def is_its_own(command: str, target: str) -> bool:
    """Whether a target is an earlier output of the command, which it does not read."""
    verb, *words = command.split()
    name = Path(target).resolve().name
    return WROTE.get(name) == verb and name not in words


def test_no_output_destroys_what_is_there(place: Path) -> None:
    add_links(place)
    before = hashes(place)
    for command in READS.values():
        for target in targets(place):
            for flags in flags_of(command):
                if flags and is_its_own(command, target):
                    continue
                words = [*command.split(), target, *flags]
                resume = flags == ("--resume",)
                if resume and words[0] == "train" and run(*words, "--dry-run").exit_code == 0:
                    continue  # nothing is in the way, so it would train for long
                result = run(*words)
                assert result.exit_code in ((0, 2) if resume else (2,)), (words, result.stderr)
                after = hashes(place)
                changed = {name for name in before if before[name] != after.get(name)}
                assert not changed, (words, result.stderr)
                new = after.keys() - before.keys()
                assert result.exit_code == 0 or not new, (words, new)
                for name in new:
                    (place / name).unlink()


@pytest.mark.parametrize(
    "command",
    [
        "evaluate --run run --data dataset -o run --overwrite",
        "evaluate --run run --data dataset -o . --overwrite",
        "evaluate --pred masks --truth raw/masks -o raw/masks --overwrite",
        "evaluate --pred masks --truth raw/masks -o raw --overwrite",
        "train --data held/dataset --run held --overwrite",
        "evaluate --run held/run --data dataset -o held --overwrite",
        "train --data dataset/../dataset --run dataset --overwrite",
        "infer --run run ct -o ct --overwrite",
        "infer --run run ct -o ct --resume",
        "infer --run run ct/patient01.nii.gz -o ct --overwrite",
        "infer --run run raw/images -o run --overwrite",
        "split --input prepared -o . --overwrite",
        "label ct -o ct --overwrite",
        "convert original.config -o run/config.yaml --overwrite",
    ],
)
def test_these_destroyed_something_once(command: str, place: Path) -> None:
    shutil.copytree("dataset", "held/dataset")
    shutil.copytree("run", "held/run")
    before = hashes(place)
    result = run(*command.split())
    assert result.exit_code == 2, result.stderr
    assert hashes(place) == before


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_an_earlier_output_that_is_read_is_kept(flag: str, place: Path) -> None:
    done(f"{READS['infer']} masks --overwrite --overlay")
    (place / "into_it").symlink_to("masks/overlays")
    (place / "it").symlink_to("masks")
    before = hashes(place)
    for given in (
        "masks",
        "masks/overlays",
        "into_it",
        "it",
        f"{place}/masks/patient01_slice01.png",
    ):
        for output in ("masks", "it", "raw/../masks"):
            result = run("infer", "--run", "run", given, "-o", output, flag)
            assert (result.exit_code, "its own input" in result.stderr) == (2, True), given
            assert hashes(place) == before
    # The link itself is in the output, though what it leads to is not.
    (place / "masks" / "given").symlink_to(place / "raw" / "images")
    result = run("infer", "--run", "run", "masks/given", "-o", "masks", flag)
    assert (result.exit_code, "its own input" in result.stderr) == (2, True)


# An output that was written before.


def test_a_mask_corrected_by_hand_stays(place: Path) -> None:
    mask = place / "masks" / "patient01_slice01.png"
    mask.write_bytes(mask.read_bytes()[:-1] + b"!")  # of the same size
    before = mask.read_bytes()
    result = run(*READS["infer"].split(), "masks", "--overwrite")
    assert (result.exit_code, mask.name in result.stderr) == (2, True)
    assert "changed since" in result.stderr
    (place / "masks" / "patient02_slice01.png").unlink()
    done(f"{READS['infer']} masks --resume")
    assert (place / "masks" / "patient02_slice01.png").exists()
    assert mask.read_bytes() == before
    assert run(*READS["infer"].split(), "masks", "--overwrite").exit_code == 2


def test_a_mask_corrected_after_a_kill_stays(place: Path) -> None:
    # As a kill leaves the list: what was finished is noted, and the rest is claimed.
    listing = place / "masks" / ".lungseg.jsonl"
    lines = listing.read_text().splitlines()
    (unfinished,) = (line for line in lines if "patient05_slice01.png" in line)
    names = ["cases.csv", "cases.json", "patient01_slice01.png", "patient05_slice01.png"]
    claims = {"claims": names}
    lines = [line for line in lines if line != unfinished and "cases." not in line]
    listing.write_text("\n".join([*lines[:1], json.dumps(claims), *lines[1:], '{"file": "torn']))
    table = place / "masks" / "cases.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    corrected = place / "masks" / "patient01_slice01.png"
    corrected.write_bytes(b"corrected")
    assert run(*READS["infer"].split(), "masks", "--overwrite").exit_code == 2
    done(f"{READS['infer']} masks --resume")
    assert corrected.read_bytes() == b"corrected"
    assert len(read_csv(table)) == 5
    corrected.unlink()
    done(f"{READS['infer']} masks --overwrite")


@pytest.mark.parametrize("output", ["prepared", "dataset", "masks", "scores", "drawn"])
def test_overwrite_replaces_its_own_output_and_lists_what_is_not(output: str, place: Path) -> None:
    verb = WROTE[output]
    name = {"evaluate": "evaluate a run"}.get(verb, verb)
    again = [*READS[name].split(), output, "--overwrite"]
    mine = place / output / "inside" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    before = hashes(place)
    result = run(*again)
    assert (result.exit_code, "inside/mine.txt" in result.stderr) == (2, True)
    assert hashes(place) == before
    mine.unlink()
    mine.parent.rmdir()
    for old in (place / output).rglob("*.png"):
        os.utime(old, ns=(1, 1))  # as a copy of the folder has other times
    result = run(*again)
    assert result.exit_code == 0, result.stderr
    assert hashes(place).keys() == before.keys() - {f"{output}/inside/mine.txt"}


def test_an_output_of_fewer_files_leaves_none_of_the_old(place: Path) -> None:
    done(f"{READS['split']} folds -s split.folds=5")
    done(f"{READS['split']} folds -s split.folds=3 --overwrite")
    assert sorted(path.name for path in (place / "folds").glob("fold_*")) == [
        "fold_1", "fold_2", "fold_3",
    ]  # fmt: skip
    done("phantom --patients 3 --slices 1 --size 32 -o drawn --overwrite")
    done("phantom --patients 2 --slices 1 --size 32 -o drawn --overwrite")
    assert len(list((place / "drawn").rglob("*.png"))) == 4


def test_resume_writes_over_nothing_of_others(place: Path) -> None:
    shutil.copytree("raw/images", "own")
    before = hashes(place)
    result = run(*READS["infer"].split(), "own", "--resume")
    assert (result.exit_code, "patient01_slice01.png" in result.stderr) == (2, True)
    # A table that was not closed by a line end, as a person may leave it.
    (place / "mine" / "cases.csv").write_text("case\nmine")
    assert run(*READS["infer"].split(), "mine", "--resume").exit_code == 2
    (place / "mine" / "history.csv").write_text("mine")
    result = run(*READS["train"].split(), "mine", "--resume")
    assert (result.exit_code, "history.csv" in result.stderr) == (2, True)
    (place / "mine" / "history.csv").unlink()
    assert hashes(place) == before


def test_a_folder_that_leads_elsewhere_is_not_written_through(place: Path) -> None:
    (place / "masks" / "overlays").symlink_to(place / "raw" / "images")
    (place / "masks" / "patient01_slice01.png").unlink()
    before = hashes(place)
    result = run(*READS["infer"].split(), "masks", "--resume", "--overlay")
    assert (result.exit_code, "overlays" in result.stderr) == (2, True)
    assert hashes(place) == before


@pytest.mark.parametrize("flags", ["", " --overwrite"])
def test_an_output_that_was_stopped_while_it_was_put_in_place_is_completed(
    flags: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "phantom --patients 1 --slices 2 --size 32 --seed"
    real = Path.replace
    for moves in range(12):
        # The old one has a file that the new one has not.
        before = "--slices 3" if flags else ""
        output = f"drawn_{moves}"
        if flags:
            done(f"{command} 0 -o {output} {before}")
        left = moves

        def stop(self: Path, target: Path) -> Path:
            nonlocal left
            if ".lungseg.ready" in self.parts:
                left -= 1
            moved = real(self, target)
            if left < 0:
                raise KeyboardInterrupt
            return moved

        monkeypatch.setattr(Path, "replace", stop)
        ended = run(*command.split(), 5, "-o", output, *flags.split())
        monkeypatch.setattr(Path, "replace", real)
        if ended.exit_code == 0:
            break
        assert ended.exit_code == 130
        result = run(*command.split(), 5, "-o", output)
        assert (result.exit_code, "not empty" in result.stderr) == (2, True)
        done(f"{command} 5 -o expected_{moves}")
        assert visible(place / output) == visible(place / f"expected_{moves}")
        assert sorted(path.name for path in (place / output).glob(".*")) == [".lungseg.jsonl"]
    assert moves == 5


def visible(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in hashes(folder).items() if not name.startswith(".")}


def test_a_scored_run_gets_the_scores_and_keeps_the_rest(place: Path) -> None:
    before = hashes(place)
    again = "evaluate -c tiny.yaml --run run --data dataset"
    done(again)
    after = hashes(place)
    scores = {"per_case.csv", "evaluation.csv", "evaluation.json", "report.html"}
    new = {name for name in after.keys() - before.keys() if not Path(name).name.startswith(".")}
    assert new == {f"run/{name}" for name in scores}
    assert before.items() <= after.items()
    done(again)
    report = place / "run" / "report.html"
    report.write_text("my own notes")
    result = run(*again.split())
    assert (result.exit_code, "report.html" in result.stderr) == (2, True)
    assert report.read_text() == "my own notes"
    report.unlink()
    result = run(*again.split(), "--against", "run/per_case.csv")
    assert (result.exit_code, "its own input" in result.stderr) == (2, True)


def test_an_export_writes_over_nothing_of_others(place: Path) -> None:
    (place / "run" / "model.keras").write_text("no model")
    for name in ("model.tflite", "saved_model/mine.txt"):
        path = place / "run" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    done("evaluate -c tiny.yaml --run run --data dataset")  # the run has a list from here on
    (place / "run" / ".lungseg.jsonl").write_text('{"lungseg": "0", "kind": "train"}\n')
    for name in ("litert", "savedmodel", "onnx"):
        result = run("export", "--run", "run", "--format", name)
        assert (result.exit_code, "not written by lungseg" in result.stderr) == (2, True)
    assert (place / "run" / "model.tflite").read_text() == "mine"


def test_an_old_run_is_known_by_its_files(place: Path) -> None:
    done("evaluate -c tiny.yaml --run run --data dataset")
    (place / "run" / ".lungseg.jsonl").unlink()  # as versions without a list left it
    done("evaluate -c tiny.yaml --run run --data dataset")


def test_old_masks_are_resumed_but_not_replaced(place: Path) -> None:
    (place / "masks" / ".lungseg.jsonl").unlink()
    result = run(*READS["infer"].split(), "masks", "--overwrite")
    assert (result.exit_code, "not empty" in result.stderr) == (2, True)
    (place / "masks" / "patient02_slice01.png").unlink()
    done(f"{READS['infer']} masks --resume")
    assert (place / "masks" / "patient02_slice01.png").exists()


def test_an_output_inside_an_input_is_no_input(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place / "raw" / "images")
    for flags in ("", " --overwrite", " --resume"):
        done(f"infer --run {place}/run . -o out{flags}")
        assert len(read_csv(Path("out/cases.csv"))) == 5
    # Folders of DICOM in a folder are inputs, but not the folder that holds DICOM-SEG of them.
    monkeypatch.chdir(place)
    Path("scans").mkdir()
    write_dicom(Path("scans/first"), phantom_hu())
    for flags in ("", " --overwrite"):
        done(f"infer --run run scans -o scans/out -s infer.dicom_seg=true{flags}")
        assert [row["case"] for row in read_csv(Path("scans/out/cases.csv"))] == ["first"]
        assert (place / "scans" / "out" / "first.dcm").exists()


# Links and mount points.


@pytest.mark.parametrize("name", READS)
def test_a_link_as_output_stays_one(name: str, place: Path) -> None:
    if name == "train":
        pytest.skip("tests/verbs/test_train.py has it")
    target = place / "elsewhere"
    link = place / "link"
    link.symlink_to("elsewhere")
    if name not in ("convert", "phantom", "infer"):  # these make what it leads to
        target.mkdir()
    for flags in ("", " --overwrite"):
        done(f"{READS[name]} link{flags}")
        assert link.is_symlink()
        assert target.is_file() if name == "convert" else len(hashes(target)) > 2
        assert not [path for path in place.iterdir() if path.name.startswith(".")]


@pytest.fixture
def mount(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that behaves as a mount point: no rename crosses its border."""
    folder = place / "mount"
    folder.mkdir()

    def guarded(rename: Callable[..., None]) -> Callable[..., None]:
        def checked(source: str | Path, target: str | Path) -> None:
            inside = [folder in Path(os.path.abspath(path)).parents for path in (source, target)]
            if not all(inside) and (any(inside) or folder in (Path(source), Path(target))):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
            rename(source, target)

        return checked

    for function in ("rename", "replace"):
        monkeypatch.setattr(os, function, guarded(getattr(os, function)))
    return folder


@pytest.mark.parametrize("name", [name for name in READS if name not in ("train", "convert")])
def test_a_mount_point_as_output_works(name: str, mount: Path) -> None:
    for flags in ("", " --overwrite"):
        done(f"{READS[name]} {mount}{flags}")
        assert len(hashes(mount)) > 2
        assert not [path for path in mount.iterdir() if "partial" in path.name]


def may_mount() -> bool:
    command = ["unshare", "--map-root-user", "--mount", "true"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_mount(), reason="this machine lets nobody mount a folder")
def test_one_folder_under_two_names_is_one_folder(place: Path) -> None:
    # As on a file system for which Raw and raw are one name, no link tells that they are the same.
    done(f"{READS['infer']} masks --overwrite --overlay")
    (place / "other").mkdir()
    (place / "volume").mkdir()
    (place / "disk").mkdir()
    lungseg = f"{sys.executable} -m lungseg"
    script = (
        f"mount --bind masks other && mount --bind disk volume || exit 9\n"
        f"{lungseg} infer --run run masks/overlays -o other --overwrite; test $? = 2 || exit 1\n"
        f"{lungseg} {READS['phantom']} volume || exit 2\n"
        f"{lungseg} {READS['phantom']} volume --overwrite || exit 3\n"
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    before = hashes(place / "masks")
    ended = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert hashes(place / "masks") == before
    assert len(list((place / "disk").rglob("*.png"))) == 2


# What split copies.


def test_an_edit_in_place_stays_where_it_was_made(place: Path) -> None:
    done(f"{READS['split']} folds -s split.folds=3")
    for source in ("dataset", "folds/fold_1"):
        before = hashes(place)
        row = read_csv(place / "dataset" / "split.csv")[0]
        name = Path(row["image"]).name
        (edited,) = (place / source).glob(f"*/images/{name}")
        with edited.open("r+b") as stream:
            stream.write(b"edited")
        after = hashes(place)
        assert [path for path in before if before[path] != after[path]] == [
            str(edited.relative_to(place))
        ]


def test_images_with_one_name_are_refused_not_mixed(place: Path) -> None:
    images, masks = place / "prepared" / "images", place / "prepared" / "masks"
    manifest = place / "prepared" / "manifest.csv"
    text = manifest.read_text()
    for number in range(1, 6):
        for folder in (images, masks):
            (folder / str(number)).mkdir()
            (folder / f"patient0{number}_slice01.png").rename(folder / str(number) / "slice.png")
        for kind in ("images", "masks"):
            name = f"{kind}/patient0{number}_slice01.png"
            text = text.replace(name, f"{kind}/{number}/slice.png")
    manifest.write_text(text)
    before = hashes(place)
    for flags in ("", "split.hard_links=true"):
        result = run(*READS["split"].split(), "new", "-s", flags or "seed=0")
        assert (result.exit_code, "its own name" in result.stderr) == (3, True), result.stderr
        assert hashes(place) == before


def test_two_inputs_that_give_one_slice_are_refused_not_mixed(place: Path) -> None:
    done("phantom --volumes --patients 1 --slices 8 --size 32 -o volumes")
    for kind in ("images", "masks"):
        (place / "volumes" / kind / "patient01.nii.gz").rename(place / "raw" / kind / "a.nii.gz")
        first = place / "raw" / kind / "patient01_slice01.png"
        first.rename(first.with_name("a_z0004.png"))
    result = run(*READS["prepare"].split(), "new")
    assert (result.exit_code, "a_z0004" in result.stderr) == (3, True)


def test_two_cts_of_one_name_are_not_mixed(place: Path) -> None:
    (place / "more").mkdir()
    shutil.copy("ct/patient01.nii.gz", "more")
    done("label ct more -o labelled")
    names = sorted(path.name for path in (place / "labelled" / "images").iterdir())
    assert names == ["ct_patient01.nii.gz", "more_patient01.nii.gz"]
    shutil.copy("ct/patient01.nii.gz", "more/Patient01.nii.gz")
    result = run("label", "more", "-o", "refused")
    assert (result.exit_code, "same name" in result.stderr) == (2, True)
    assert not (place / "refused").exists()
