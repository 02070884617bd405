"""Named spine → measures: heights, slips, angles and curves, each with its uncertainty.

``plates`` holds all endplates of a film as one array; ``lines``, ``sagittal`` and ``coronal`` hold the formulas, which
``measure`` calls and ``uncertainty`` propagates.

May import: ``analysis.seeing``, ``domain``. Begin with ``measure.py``.
"""
