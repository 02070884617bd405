"""spinepacs: a batch DICOM processing daemon for spine radiographs.

It is not a medical device: its results are for research and for a physician's own judgement.
"""

from importlib.metadata import version

__version__ = version("spinepacs")
