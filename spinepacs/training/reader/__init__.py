"""The vertebra reader: a small network that names what one crop of a film shows.

``samples`` cuts crops with their truth, ``network`` is the net, ``learn`` its training, ``loop`` what every training on
crops has, ``agreement`` what comes out on whole spines.

May import: ``training.data``, ``analysis``. Begin with ``learn.py``.
"""
