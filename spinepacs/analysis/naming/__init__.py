"""Detections → the named spine: one consecutive ``chain`` of levels, its view and facing (``pose``), its endplates.

May import: ``analysis.seeing``, ``domain``. Begin with ``spine.py``; the choice of levels is in ``chain.py``.
"""
