"""What a process tells the outside: logs with study context and without patient identity, and no core dumps.

A log record may carry ``extra={"study_uid": …, "sop_uid": …, …}``; nothing else of a dataset belongs in a log.
UIDs are no names, but they link to a patient inside the hospital: keep the logs there.

Libraries and exceptions quote what they stumble over, names of patients among it. So the words of a log record are
shown only if it is ours, and those of an exception only if it is one of our own errors, which promise to hold none
(:mod:`spinepacs.errors`); of all others only what they are and where they come from.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import sys
import threading
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from spinepacs.errors import SpinepacsError

CONTEXT_KEYS = (
    "study_uid",
    "sop_uid",
    "destination",
    "calling_ae",
    "peer",
    "state",
    "reason_code",
    "seconds",
)
"""The keys of ``extra`` that the formatters print."""

_OURS = "spinepacs"
_UID = re.compile(r"[0-9.]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_log = logging.getLogger(__name__)


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Send all logs of this process to standard error, uncaught exceptions too, and switch its core dumps off.

    Libraries are heard from ERROR on only, whatever the level.
    """
    handler = _Handler(sys.stderr)
    handler.addFilter(_is_heard)
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    logging.getLogger(_OURS).setLevel(level)
    logging.captureWarnings(True)  # they come as records of a library: below ERROR, so not at all
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    no_core_dumps()


def no_core_dumps() -> None:
    """Leave no image of this process's memory behind when it crashes: it holds films and headers.

    The limit holds for core files; a program that core(5) pipes dumps to may ignore it, so none of the memory is to be
    in the dump either. Child processes inherit both.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # Linux only
        Path("/proc/self/coredump_filter").write_text("0")


class _Handler(logging.StreamHandler[Any]):
    """Says of a record that cannot be written only where it comes from; logging itself would quote its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Tell that a record was lost."""
        with suppress(Exception):
            self.stream.write(f"a log record is lost: {_place(record)}\n")


class _TextFormatter(logging.Formatter):
    """``time level logger message key=value …``, one line a record and one for each frame of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        context = " ".join(f"{key}={value}" for key, value in _context(record).items())
        text = _CONTROL.sub("?", f"{record.levelname} {record.name} {_message(record)} {context}".rstrip())
        return "\n    ".join([f"{_time(record)} {text}", *_trace(record)])


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **_context(record),
        }
        if trace := _trace(record):
            entry["exception"] = "\n".join(trace)
        return json.dumps(entry, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _is_heard(record: logging.LogRecord) -> bool:
    """Ours, or grave: asked of each record, since some libraries set levels of their own."""
    return _is_ours(record) or record.levelno >= logging.ERROR


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == _OURS


def _place(record: logging.LogRecord) -> str:
    return f"{record.name} at {record.filename}:{record.lineno}"


def _message(record: logging.LogRecord) -> str:
    if _is_ours(record):
        return record.getMessage()
    return f"(withheld, may quote a dataset; written by {_place(record)})"


def _context(record: logging.LogRecord) -> dict[str, object]:
    """What ``extra`` says; a UID that is none may be anything that a sender made up."""
    found = {key: getattr(record, key) for key in CONTEXT_KEYS if hasattr(record, key)}
    return {
        key: "(not a UID)" if key.endswith("_uid") and value and not _UID.fullmatch(str(value)) else value
        for key, value in found.items()
    }


def _trace(record: logging.LogRecord) -> list[str]:
    """Lines that tell type and place of an exception, then of what it came from."""
    error = record.exc_info[1] if record.exc_info else None
    lines: list[str] = []
    while error is not None:
        lines.append(f"{type(error).__name__}: {_words(error)}")
        frames = traceback.extract_tb(error.__traceback__)
        lines += [f"  at {frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return lines


def _words(error: BaseException) -> str:
    if isinstance(error, SpinepacsError):
        return _CONTROL.sub(" ", str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return "(withheld, may quote a dataset)"


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log what nobody caught; Python itself would print the words of the exception."""
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        _log.critical("uncaught", exc_info=(kind, error or kind(), trace))
