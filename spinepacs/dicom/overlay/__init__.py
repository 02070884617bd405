"""Reading → the picture for viewers without SEG: outlines, names, heights and signs drawn over the film.

``picture`` draws and encodes; ``marks`` says what is drawn where, ``text`` what is written,
``draw`` and ``letters`` how.

May import: ``domain``, ``dicom.identity``. Begin with ``picture.py``.
"""
