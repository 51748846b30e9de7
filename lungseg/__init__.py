"""Train, judge and run lung segmentation on chest CT from a shell."""

__version__ = "0.1.0"
