"""Importing the package, its command line or any verb does not load TensorFlow or Keras."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import lungseg

# Found by their files, so that a new verb is tested too and this process imports none of them.
VERBS = Path(lungseg.__file__).with_name("verbs")
MODULES = [
    "lungseg",
    "lungseg.cli",
    "lungseg.verbs",
    *(module.name for module in pkgutil.iter_modules([str(VERBS)], "lungseg.verbs.")),
]


def test_the_verbs_are_found() -> None:
    assert {"lungseg.verbs.train", "lungseg.verbs.infer"} < set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_fresh_process_imports_it_without_tensorflow_and_keras(module: str) -> None:
    code = f"import sys, {module}; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "set()\n", done.stderr
