"""The vertebra reader: a small network that names what one crop of a film shows.

``samples`` cuts crops with their truth, ``network`` is the net, ``learn`` the loop, ``agreement`` what comes out on
whole spines. May import: ``training.data``, ``analysis``. Begin with ``learn.py``.
"""
