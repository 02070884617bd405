"""A load for the fault tests: parallel senders that keep what was not acknowledged, and a folder that fills."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count, cycle
from pathlib import Path

import numpy as np

from tests import films, peers
from tests.daemons import PHANTOM

_QUARTER = np.array([[0.25, 0, 0], [0, 0.25, 0]])
_SMALL = PHANTOM.moved(_QUARTER, PHANTOM.rows // 4, PHANTOM.columns // 4)
_PIXELS = _SMALL.picture().astype(np.uint16) * 16
_RETRY_S = 0.2
_LONGEST_ASSOCIATION_S = 60.0
FILMS_A_STUDY = 2
FILMS_AT_ONCE = 3


def small_film(number: int) -> films.FileDataset:
    """Film ``number``, two to a study, a quarter of the phantom's size: the whole pipeline reads it in 0.2 s."""
    study = f"study-{number // FILMS_A_STUDY}"
    spine = {"BodyPartExamined": "LSPINE", "ImagerPixelSpacing": [0.572, 0.572]}
    return films.make_dx(_PIXELS, seed=str(number), study=study, **spine)


class Load:
    """Sends films from several threads until told to stop, and then until the last one is acknowledged.

    Every fifth lot is put into the watched folder instead; there a file counts as taken when it is in ``done/``.

    Parameters
    ----------
    folder
        For the films that are not acknowledged yet.
    port
        Of the listener on this machine; several, with their hosts: those among which a balancer would choose, one
        association each.
    watched
        The folder that the daemon watches; None: there is none.
    may_send
        Whether the daemon is near enough behind: a load that only grows would test patience.
    """

    def __init__(
        self,
        folder: Path,
        port: int | Sequence[tuple[str, int]],
        watched: Path | None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._folder = folder
        self._listeners = cycle([("127.0.0.1", port)] if isinstance(port, int) else port)
        self._watched = watched
        self._may_send = may_send
        self._numbers = count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.acknowledged: dict[str, str] = {}
        """SOP UID to Study UID of what was answered with success."""
        self.dropped: dict[str, str] = {}
        """The same of what was put into the watched folder."""
        self.associations = self.broken = 0

    def start(self, senders: int) -> None:
        """Start to send."""
        for number in range(senders):
            folder = self._folder / f"sender-{number}"
            folder.mkdir(parents=True)
            self._threads.append(threading.Thread(target=self._run, args=(folder,), daemon=True))
        for thread in self._threads:
            thread.start()

    def finish(self, timeout_s: float) -> bool:
        """Make no new films, and wait until all are acknowledged; False if they are not in time."""
        self._stop.set()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def waiting_in_folder(self) -> int:
        """Files in the watched folder that the daemon has not taken."""
        return len(list(self._watched.glob("*.dcm"))) if self._watched else 0

    def _run(self, folder: Path) -> None:
        while not self._stop.is_set():
            if not self._may_send():
                time.sleep(_RETRY_S)
                continue
            with self._lock:
                numbers = [next(self._numbers) for _ in range(FILMS_AT_ONCE)]
            if self._watched and (numbers[0] // FILMS_AT_ONCE) % 5 == 4:
                self._drop(numbers, self._watched)
            else:
                self._send(numbers, folder)

    def _drop(self, numbers: list[int], watched: Path) -> None:
        for number in numbers:
            film = small_film(number)
            whole = films.write(film, watched / f".{number}.dcm")
            self.dropped[str(film.SOPInstanceUID)] = str(film.StudyInstanceUID)
            whole.rename(watched / f"{number}.dcm")

    def _send(self, numbers: list[int], folder: Path) -> None:
        """Send films again and again until each is acknowledged; the sender keeps nothing longer than that."""
        made = {number: small_film(number) for number in numbers}
        waiting = {films.write(film, folder / f"{number}.dcm"): film for number, film in made.items()}
        while waiting:
            for path in self.store(list(waiting)):
                film = waiting.pop(path)
                self.acknowledged[str(film.SOPInstanceUID)] = str(film.StudyInstanceUID)
                path.unlink()
            if waiting:
                time.sleep(_RETRY_S)

    def store(self, paths: list[Path]) -> list[Path]:
        """One association of DCMTK's storescu; those that were answered with 0x0000."""
        limits = ["-to", "10", "-ta", "30", "-td", "30"]
        host, port = next(self._listeners)
        arguments = [
            peers.require("storescu"),
            "-v",
            "-aec",
            "SPINEPACS",
            *limits,
            host,
            str(port),
            *map(str, paths),
        ]
        try:
            done = subprocess.run(
                arguments, capture_output=True, text=True, timeout=_LONGEST_ASSOCIATION_S, check=False
            )
            said = done.stderr
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"").decode() if isinstance(error.stderr, bytes) else (error.stderr or "")
        answers = [line for line in said.splitlines() if "Received Store Response" in line]
        taken = [path for path, line in zip(paths, answers, strict=False) if "(Success)" in line]
        with self._lock:
            self.associations += 1
            self.broken += len(taken) < len(paths)
        return taken
