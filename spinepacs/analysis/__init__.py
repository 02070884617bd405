"""Pixels to findings, in pure numpy: knows no DICOM, no database and no network."""
