"""Prepared slices on disk: checked, grouped by patient, dealt to parts, read again."""
