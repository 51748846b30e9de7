"""`lungseg export`: write the best model of a run in another format and compare with Keras."""

from lungseg.training.exporting import FILES, export_run

__all__ = ["FILES", "export_run"]
