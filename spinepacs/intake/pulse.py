"""Whether the watched folder answers: a share whose server is gone lets whoever asks it hang, for hours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SILENCE_S = 60.0
"""A folder that has not answered for so long (s) is taken to hang; drives that wake up take a few seconds."""
_EVERY_S = 2.0
_log = logging.getLogger(__name__)


@contextmanager
def pulse(
    ask: Callable[[], object], on_state: Callable[[bool], None], silence_s: float = SILENCE_S
) -> Iterator[None]:
    """Ask again and again while the block runs, and say when no answer comes, and when one comes again.

    Parameters
    ----------
    ask
        Looks at the folder, and may hang; None: it is not there.
    on_state
        Told False when it hangs, and when it answers again whether it is there.
    """
    stop = threading.Event()
    asker = _Asker(ask)
    threads = [
        threading.Thread(target=asker.run, args=(stop,), name="pulse", daemon=True),
        threading.Thread(
            target=_judge, args=(asker, on_state, silence_s, stop), name="pulse-judge", daemon=True
        ),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        threads[1].join()  # the other may hang


class _Asker:
    """Asks, and remembers when the last answer came (s, monotonic) and whether it was there."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self.answered_s = time.monotonic()
        self.is_there = True

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(_EVERY_S):
            self.is_there = self._ask() is not None
            self.answered_s = time.monotonic()


def _judge(asker: _Asker, on_state: Callable[[bool], None], silence_s: float, stop: threading.Event) -> None:
    hangs = False
    while not stop.wait(min(_EVERY_S, silence_s / 4)):
        hung, hangs = hangs, time.monotonic() - asker.answered_s > silence_s
        if hangs and not hung:
            _log.error(
                "the watched folder has not answered for %g s: the server of its share is away", silence_s
            )
            on_state(False)
        elif hung and not hangs:
            _log.warning("the watched folder answers again")
            on_state(asker.is_there)
