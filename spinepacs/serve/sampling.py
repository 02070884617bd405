"""Takes the samples that the console's plots are made of: one a minute, by one machine at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from spinepacs.errors import Transient
from spinepacs.outages import Outage
from spinepacs.store.exclusive import Turn, Unrivalled
from spinepacs.store.ledger import Ledger

EVERY_S = 60.0
_THIN_EVERY = 60
"""Samples between two looks for what is to be put together."""
_log = logging.getLogger(__name__)


def run(
    ledger: Ledger,
    destinations: Collection[str],
    stop: threading.Event,
    turn: Turn | None = None,
    every_s: float = EVERY_S,
) -> None:
    """Take samples until told to stop; a defect is logged and does not end it."""
    turn, outage, taken = turn or Unrivalled(), Outage(_log, "the sample for the plots"), 0
    while not stop.is_set():
        try:
            if turn.take():
                ledger.samples.take(destinations)
                if taken % _THIN_EVERY == 0:
                    ledger.samples.thin()
                taken += 1
            outage.over()
        except Transient as error:
            outage.lasts(error)
        except Exception:
            _log.exception("defect in the samples for the plots")
        stop.wait(every_s)
    turn.close()
