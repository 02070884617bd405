"""Which module speaks with which kind of destination: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from spinepacs.delivery import sending, stow
from spinepacs.delivery.verdicts import Link, Verdict
from spinepacs.settings.destinations import Destination, DicomDestination, DicomwebDestination
from spinepacs.store.records import OutboxItem


def opened(
    destination: Destination, calling_ae: str, items: Sequence[OutboxItem]
) -> AbstractContextManager[Link | Verdict]:
    """Open a way to a destination for one batch; a verdict where there is none, which is for all of the batch.

    Raises
    ------
    Unreachable
        On entering, if the destination has no part in it: its host is not known, our certificate cannot be read.
    """
    match destination:
        case DicomDestination():
            return sending.opened(destination, calling_ae, items)
        case DicomwebDestination():
            return stow.opened(destination)
    raise TypeError(f"no kind of destination: {type(destination).__name__}")
