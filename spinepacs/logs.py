"""Logging with study context and without patient identity.

A log record may carry ``extra={"study_uid": …, "sop_uid": …, …}``; nothing else of a dataset belongs in a log.
UIDs are no names, but they link to a patient inside the hospital: keep the logs there.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

CONTEXT_KEYS = ("study_uid", "sop_uid", "destination", "calling_ae", "state", "reason_code", "seconds")
"""The keys of ``extra`` that the formatters print."""


class _TextFormatter(logging.Formatter):
    """``time level logger message key=value …``, one line a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        context = " ".join(f"{key}={getattr(record, key)}" for key in CONTEXT_KEYS if hasattr(record, key))
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        text = f"{when} {record.levelname} {record.name} {record.getMessage()} {context}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: getattr(record, key) for key in CONTEXT_KEYS if hasattr(record, key)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Send all logs of this process to standard error.

    pydicom's and pynetdicom's own loggers are held at ERROR: below it they quote values of elements.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("pydicom", "pynetdicom", "highdicom", "py.warnings"):
        logging.getLogger(name).setLevel(logging.ERROR)
