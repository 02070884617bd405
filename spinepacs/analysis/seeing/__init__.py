"""Pixels → detections: the only place that knows the network, its input and its answers.

A film is normalised to the input, run (``segment``), decoded, outlined; read again in ``windows`` along the spine
and in ``gaps``. The ``manifest`` says what a model expects and how far its endplates are off (``localisation``).
Coordinates of the network's input never leave this wing.

May import: ``domain``. Begin with ``segment.py``.
"""
