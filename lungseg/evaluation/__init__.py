"""Scores of masks, summed up and reported."""
