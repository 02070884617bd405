"""Train the tracer: a small network that draws a body's outline and corners from a crop around it.

``samples`` cuts crops with their truth, ``network`` is the net, ``learn`` its training. May import: ``training.data``,
``training.reader``, ``analysis``. Begin with ``learn.py``.
"""
