"""DICOM: the bytes of a file, the header of a slice, series, segmentations."""
