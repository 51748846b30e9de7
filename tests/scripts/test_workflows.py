"""The workflows and the Dockerfile: what can be checked where neither can be run."""

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.support.places import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> dict[str, Any]:
    path = REPOSITORY / ".github" / "workflows" / f"{name}.yml"
    # In YAML 1.1 the key `on` is a boolean.
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def test_workflows_are_as_github_wants_them() -> None:
    pytest.importorskip("check_jsonschema", reason="comes with the extra dev")
    schema = ("--builtin-schema", "vendor.github-workflows")
    command = [sys.executable, "-m", "check_jsonschema", *schema, *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [path.stem for path in WORKFLOWS] == ["ci", "release"]


def test_ci_runs_on_three_systems_and_each_file_that_it_names_exists() -> None:
    systems = read("ci")["jobs"]["systems"]["strategy"]["matrix"]
    assert systems["system"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert systems["python"] == ["3.11", "3.12", "3.13"]
    for name in ("ci", "release"):
        jobs = read(name)["jobs"].values()
        commands = "\n".join(step.get("run", "") for job in jobs for step in job["steps"])
        named = re.findall(r"(?:tests|scripts)/[\w/.]+|requirements[\w-]+\.txt", commands)
        assert named
        missing = [path for path in named if not (REPOSITORY / path).exists()]
        assert not missing


def test_a_release_is_uploaded_nowhere() -> None:
    text = (REPOSITORY / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert not re.search(r"twine upload|gh-action-pypi-publish|gh release|id-token|secrets\.", text)
    for path in WORKFLOWS:
        assert read(path.stem)["permissions"] == {"contents": "read"}


def test_the_dockerfile_copies_what_exists_and_what_dockerignore_lets_through() -> None:
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        source for line in re.findall(r"^COPY (.+)$", text, re.M) for source in line.split()[:-1]
    ]
    assert "requirements-inference.txt" in copied
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert f"!{source.removeprefix('./')}" in ignored
    # The files that the build of the package needs are among them.
    assert {"pyproject.toml", "README.md", "LICENSE", "lungseg"} <= set(copied)
    assert re.search(r"^USER \d+$", text, re.M)
    assert text.index("USER") < text.index("ENTRYPOINT")
