"""The audit trail as text: CSV, JSON lines, or DICOM audit messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from typing import Any, Literal

from spinepacs.audit import trail
from spinepacs.audit.message import Messages
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import audit_events

COLUMNS = tuple(audit_events.columns.keys())
"""What CSV and JSON show; no patient."""


def lines(
    ledger: Ledger,
    style: Literal["csv", "json", "dicom"],
    messages: Messages,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[str]:
    """Give the trail line by line, oldest first; with ``dicom`` one XML message a line, where a row has one.

    Parameters
    ----------
    since, until
        Zone-aware times: from ``since`` on, and before ``until``.
    """
    if style == "csv":
        yield _csv(dict(zip(COLUMNS, COLUMNS, strict=True)))
    for page in trail.pages(ledger, since=since, until=until):
        for row in page:
            if style == "dicom":
                message = messages.of(row)
                if message is not None:
                    yield message.decode().replace("\n", "", 1)
            else:
                shown = {name: _plain(row[name]) for name in COLUMNS}
                yield _csv(shown) if style == "csv" else json.dumps(shown, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value


def _csv(row: dict[str, Any]) -> str:
    text = StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="").writerow(row)
    return text.getvalue()
