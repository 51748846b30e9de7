"""`lungseg export`: a run's best model in another format, checked against Keras."""

from lungseg.training.exporting import FILES, export_run

__all__ = ["FILES", "export_run"]
