"""Corrections for those who make them: what one would change, and the films that were corrected, to train on.

Films are decoded in a child process with limits, as everywhere.

May import: ``show``, ``pipeline``, ``store``, ``dicom`` and what is below. Begin with ``preview.py``.
"""
