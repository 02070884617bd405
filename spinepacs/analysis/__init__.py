"""Pixels to findings, in pure numpy: knows no DICOM, no database and no network.

The wings are the steps of the way, each knowing only those before it: ``seeing`` (pixels → detections), ``naming``
(detections → named spine), ``measuring`` (spine → measures), ``judging`` (measures and pixels → findings, conclusions).

May import: ``domain`` and what lies below it. Begin with ``naming/spine.py``, which finds the spine of a film.
"""
