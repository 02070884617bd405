"""Labelled films of any kind under one class map: sources, merging, leaks, balance, doubts, batches.

Begin with ``dataset.py``; ``merge.py`` makes one data set of several sources.
"""
