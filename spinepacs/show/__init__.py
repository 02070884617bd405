"""Readings for people: tables for files (``tables``), rows on a screen (``listing``), a film's ``sheet`` and ``page``.

May import: ``dicom``, ``store``, ``domain``. Begin with ``tables.py``.
"""
