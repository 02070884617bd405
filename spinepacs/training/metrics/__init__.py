"""Numbers from pairs of found and true: precision and recall, levels, values, grades, with bootstrap intervals.

May import: ``domain``. Begin with ``detections.py``.
"""
