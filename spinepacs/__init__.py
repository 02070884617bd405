"""spinepacs: a batch DICOM processing daemon for spine radiographs.

It is not a medical device: its results are for research and for a physician's own judgement.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """``__version__``, as installed; looked up when asked for, since it takes a tenth of what ``--help`` takes."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version

    globals()[name] = found = version("spinepacs")  # asked for with every object that is made
    return found
