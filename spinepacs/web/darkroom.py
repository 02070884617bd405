"""Films as pictures, and foreign files explained: each in a process of its own, with limits, that ends after it.

A decoder that crashes, spins or asks for all memory costs one picture, and never the console.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spinepacs.children import Child, limit_memory, warm_up
from spinepacs.domain.findings import Refusal
from spinepacs.errors import BadInput, Permanent, failed
from spinepacs.language import Language, speaking, spoken
from spinepacs.settings.sections import SelectionSettings
from spinepacs.settings.web import WebSettings
from spinepacs.store.spool import Spool

LONGEST_SIDE_PX = 2400
"""Of a picture: screens show no more, and a browser holds four bytes of each pixel."""
_QUALITY = 88
_KEPT_BYTES = 96_000_000
_AT_A_TIME = 2
_LONGEST_ANSWER = 64_000_000
_FINE, _WRONG = b"+", b"-"
Answer = dict[str, Any]


class Darkroom:
    """Decodes films; keeps the newest pictures in memory.

    Parameters
    ----------
    settings
        Limits of memory and time.
    spool
        Where the films lie.
    preload
        Module that imports what decoding needs, for the process that the others are forked from. It is begun with the
        first picture: where nobody looks at films it would only take memory.
    """

    def __init__(self, settings: WebSettings, spool: Spool, preload: str = "") -> None:
        self._settings = settings
        self._preload = preload
        self._spool = spool
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_AT_A_TIME)

    def picture(self, sha256: str) -> bytes:
        """Give the windowed film as a JPEG, no larger than :data:`LONGEST_SIDE_PX`.

        Raises
        ------
        BadInput
            If it cannot be read, or only by more than its limits; the message says why.
        """
        with self._lock:
            if kept := self._kept.get(sha256):
                self._kept.move_to_end(sha256)
                return kept
        made = self._ask(develop, self._spool.path_of(sha256))
        with self._lock:
            self._kept[sha256] = made
            while sum(map(len, self._kept.values())) > _KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return made

    def explain(self, path: Path, rules: SelectionSettings, calling_ae: str, character_set: str) -> Answer:
        """Say what the rules make of a file, and what is believed of it: see :func:`explain`.

        Raises
        ------
        BadInput
            If it cannot be read, or only by more than its limits.
        """
        answer: Answer = json.loads(self._ask(explain, path, rules, calling_ae, character_set, spoken()))
        return answer

    def _ask(self, target: Callable[..., None], *arguments: Any) -> bytes:
        with self._places:
            warm_up(self._preload)
            child = Child("darkroom", target, self._settings.picture_memory_mb, *arguments)
            try:
                if not child.channel.poll(self._settings.picture_time_limit_s):
                    raise BadInput("TIME_LIMIT", "it took longer than web.picture_time_limit_s")
                said = child.channel.recv_bytes(_LONGEST_ANSWER)
            except (EOFError, OSError):
                raise BadInput(
                    "READER_DIED", "it ended the process that read it, or asked for too much"
                ) from None
            finally:
                child.kill()
                child.end(1.0)
        if said[:1] != _FINE:
            code, _, reason = said[1:].decode("utf-8", "replace").partition(": ")
            raise BadInput(code, reason)
        return said[1:]


def develop(channel: Connection, memory_mb: int, path: Path) -> None:
    """In a process of its own: read a film and say its picture."""
    _answer(channel, memory_mb, lambda: _picture(path))


def explain(
    channel: Connection,
    memory_mb: int,
    path: Path,
    rules: SelectionSettings,
    calling_ae: str,
    character_set: str,
    language: Language,
) -> None:
    """In a process of its own: say what the rules make of a file, as JSON.

    ``rules``: name, whether it passes and why; ``refusal``; ``believed``: what, value, the element that says so;
    ``unreadable``: why its pixels are not read.
    """
    with speaking(language):
        _answer(channel, memory_mb, lambda: _explained(path, rules, calling_ae, character_set))


def _answer(channel: Connection, memory_mb: int, work: Callable[[], bytes]) -> None:
    limit_memory(memory_mb)
    try:
        said = _FINE + work()
    except Exception as error:  # what may quote the file is left out by failed()
        why = failed(error)
        said = _WRONG + f"{why.reason_code}: {why.reason}".encode()
    channel.send_bytes(said)


def _picture(path: Path) -> bytes:
    import cv2

    from spinepacs.dicom.reading.film import read_film

    film = read_film(path)
    if isinstance(film, Refusal):
        raise BadInput(film.code, film.reason)
    display = film.radiograph.display
    scale = LONGEST_SIDE_PX / max(display.shape)
    if scale < 1:
        display = cv2.resize(display, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    is_made, jpeg = cv2.imencode(".jpg", display, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not is_made:
        raise Permanent("the picture could not be made")
    return bytes(jpeg.tobytes())


def _explained(path: Path, rules: SelectionSettings, calling_ae: str, character_set: str) -> bytes:
    from spinepacs.dicom.reading.film import refusal_of
    from spinepacs.dicom.reading.grounds import grounds
    from spinepacs.dicom.reading.header import header_of
    from spinepacs.dicom.reading.parse import parse
    from spinepacs.intake.selection import select, verdicts

    dataset = parse(path, with_pixels=False, character_set=character_set)
    header = header_of(dataset)
    refusal, unreadable = select(header, rules, calling_ae), refusal_of(dataset)
    said = {
        "study_uid": header.study_uid,
        "sop_uid": header.sop_uid,
        "rules": [asdict(verdict) for verdict in verdicts(header, rules, calling_ae)],
        "refusal": asdict(refusal) if refusal else None,
        "unreadable": asdict(unreadable) if unreadable else None,
        "believed": [asdict(ground) for ground in grounds(dataset)],
    }
    return json.dumps(said).encode()
