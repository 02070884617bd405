"""The training extra: films from meshes, data sets, training, evaluation, export. Nothing imports it.

``films`` draws; ``data`` reads labelled films of any kind; ``learning``, ``reader`` and ``tracer`` train on them;
``evaluation`` compares the product's readings with labels (``metrics`` counts); ``release`` makes a model folder of
checkpoints.

May import: ``analysis``, ``domain``, ``settings``; torch and ultralytics, which stay inside.
"""
