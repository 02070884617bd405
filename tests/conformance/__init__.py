"""Writes the tables of docs/conformance.md from the code: ``python -m tests.conformance``.

What a table says is found out by asking the code (each status judged, each class offered, each object encoded), and not
by naming it twice; ``tests/test_conformance.py`` fails where the page says anything else.
"""
