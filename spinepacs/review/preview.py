"""What a correction would change, told by the product's own code in a child with limits; nothing is written.

The child is kept for the next question, and replaced when it dies of one.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spinepacs.children import Child
from spinepacs.domain.corrections import Draft
from spinepacs.domain.findings import Refusal
from spinepacs.language import spoken
from spinepacs.review import child
from spinepacs.review.child import JOBS, READY, Job, Look, Preview, Print, Write
from spinepacs.review.difference import Change
from spinepacs.settings.settings import Settings

DIED, TIME_LIMIT = "WORKER_DIED", "TIME_LIMIT"
_START_LIMIT_S = 300.0
_LONGEST_ANSWER = 1 << 26


class Reviewer:
    """One child that reads films for whoever corrects them; one question at a time, of any thread.

    Parameters
    ----------
    settings
        All of them; ``work.time_limit_s`` and ``work.memory_limit_mb`` limit the child.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self._child: Child | None = None

    def __enter__(self) -> Self:
        """Nothing is started before the first question."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self.close()

    def close(self) -> None:
        """End the child, whoever waits for its answer; the next question starts another one."""
        if (child := self._child) is not None:
            child.kill()
        with self._turn:
            self._dismiss()

    def preview(self, sop_uid: str, draft: Draft) -> Preview | Refusal:
        """What a draft would make of a film's current reading, or why it cannot be."""
        answer = self._ask(Look(sop_uid, draft, spoken()))
        if isinstance(answer, Refusal):
            return answer
        told = answer["preview"]
        return Preview(**{**told, "changes": tuple(Change(**one) for one in told["changes"])})

    def write(self, sop_uid: str, folder: Path, name: str) -> Refusal | None:
        """Write a film and its outlines into a data set (see :mod:`spinepacs.review.films`); why not, else None."""
        answer = self._ask(Write(sop_uid, str(folder.absolute()), name))
        return answer if isinstance(answer, Refusal) else None

    def page(self, sop_uid: str, *, with_identity: bool) -> str | Refusal:
        """Give a film's current reading as one HTML file to be printed, or say why it cannot be.

        Parameters
        ----------
        with_identity
            Whether it says whose film it is.
        """
        answer = self._ask(Print(sop_uid, with_identity, spoken()))
        return answer if isinstance(answer, Refusal) else str(answer["page"])

    def _ask(self, job: Job) -> dict[str, Any] | Refusal:
        with self._turn:
            if self._child is None or not self._child.is_alive:
                self._dismiss()
                self._child = Child("review", child.work, self._settings)
                first = self._hear(self._child, _START_LIMIT_S)
                if first != READY:
                    self._dismiss()
                    return first if isinstance(first, Refusal) else _refusal(json.loads(first))
            with suppress(OSError):  # one that has just died is found out when it is heard
                self._child.channel.send_bytes(JOBS.dump_json(job))
            heard = self._hear(self._child, self._settings.work.time_limit_s)
            if isinstance(heard, Refusal):
                self._dismiss()
                return heard
            answer: dict[str, Any] = json.loads(heard)
            return _refusal(answer) if "refusal" in answer else answer

    def _hear(self, child: Child, limit_s: float) -> bytes | Refusal:
        until = time.monotonic() + limit_s
        try:
            if child.channel.poll(max(0.0, until - time.monotonic())):
                return child.channel.recv_bytes(_LONGEST_ANSWER)
        except (EOFError, OSError):
            return Refusal(DIED, "the process that read the film died of it")
        return Refusal(TIME_LIMIT, f"stopped after {limit_s:g} s")

    def _dismiss(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


def _refusal(answer: dict[str, Any]) -> Refusal:
    return Refusal(**answer["refusal"])
