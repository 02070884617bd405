"""From a checkpoint to a model folder: export, int8, reference answers, localisation error for the manifest.

May import: all other wings of ``training`` but ``films``. Begin with ``export.py``.
"""
