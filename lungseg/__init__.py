"""Train, evaluate and run lung segmentation on chest CT, from a shell or from Python.

>>> import lungseg
>>> lungs = lungseg.Segmenter("demo/run")  # a run folder, or its model.onnx
>>> result = lungs.segment_volume("scan")  # DICOM folder or zip, NIfTI, MHA, NRRD
>>> result.mask.shape
(12, 64, 64)

Each name is imported when it is first used, so importing the package itself takes only a moment.
Messages go to the logger `lungseg`; nothing is printed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lungseg.config.loading import load_config
    from lungseg.config.schema import Config
    from lungseg.errors import DataError, LungsegError, UsageError
    from lungseg.evaluation.cases import score
    from lungseg.imaging.volume_files import read_ct
    from lungseg.imaging.volumes import Ct
    from lungseg.inference.segmenter import Segmenter
    from lungseg.inference.volumes import Segmentation
    from lungseg.verbs.evaluate import evaluate
    from lungseg.verbs.infer import infer
    from lungseg.verbs.prepare import prepare
    from lungseg.verbs.split import split
    from lungseg.verbs.train import train

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Ct",
    "DataError",
    "LungsegError",
    "Segmentation",
    "Segmenter",
    "UsageError",
    "__version__",
    "evaluate",
    "infer",
    "load_config",
    "prepare",
    "read_ct",
    "score",
    "split",
    "train",
]

_MODULES = {
    "Config": "lungseg.config.schema",
    "Ct": "lungseg.imaging.volumes",
    "DataError": "lungseg.errors",
    "LungsegError": "lungseg.errors",
    "Segmentation": "lungseg.inference.volumes",
    "Segmenter": "lungseg.inference.segmenter",
    "UsageError": "lungseg.errors",
    "evaluate": "lungseg.verbs.evaluate",
    "infer": "lungseg.verbs.infer",
    "load_config": "lungseg.config.loading",
    "prepare": "lungseg.verbs.prepare",
    "read_ct": "lungseg.imaging.volume_files",
    "score": "lungseg.evaluation.cases",
    "split": "lungseg.verbs.split",
    "train": "lungseg.verbs.train",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'lungseg' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
