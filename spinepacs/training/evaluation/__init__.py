"""Compare what the product reads on labelled films with their truth; figures, tables, pictures.

May import: ``training.learning`` (to open a checkpoint), ``training.metrics``, ``training.data``. Begin with
``evaluate.py``; one film is judged in ``film.py``.
"""
