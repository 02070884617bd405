"""What is said to a worker of ``process``, as JSON: nothing that comes through a pipe is ever unpickled."""

from __future__ import annotations

from dataclasses import dataclass

CANNOT_GO_ON = "OUT_"
"""Beginning of the code of a film whose results found no room, before the error's name: nor would the next one's."""


@dataclass(frozen=True)
class Job:
    """One film to read.

    Parameters
    ----------
    path
        Of the file.
    named
        Whether it was named itself.
    stem
        Name of its results.
    part
        Beginning of the names of files that only this job writes.
    had_results
        Whether results of that name may be there that were of this film, and are to go where there are no new ones.
    header_only
        Whether only what is told of the patient is wanted.
    """

    path: str
    named: bool
    stem: str
    part: str
    had_results: bool = False
    header_only: bool = False
