"""What lies in ``failed/`` of the watched folder, as the watcher last saw it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, update

from spinepacs.store import events
from spinepacs.store.records import EventKind, FailedFile
from spinepacs.store.tables import failed_files


def note(connection: Connection, there: Collection[FailedFile]) -> None:
    """See Ledger.note_failed_files."""
    known = {
        (row.file_name, row.reason_code): row.failed_file_id
        for row in connection.execute(select(failed_files).where(failed_files.c.gone_at.is_(None)))
    }
    now = datetime.now(UTC)
    seen = {(file.file_name, file.reason_code): file for file in there}
    for key in sorted(seen.keys() - known.keys()):
        file = seen[key]
        row = {**vars(file), "failed_at": min(file.failed_at, now)}  # a share may have a clock of its own
        connection.execute(insert(failed_files).values(row))
        events.add(connection, EventKind.NOT_TAKEN, detail=file.reason_code)
    gone = [known[key] for key in known.keys() - seen.keys()]
    connection.execute(
        update(failed_files).where(failed_files.c.failed_file_id.in_(gone)).values(gone_at=now)
    )


def count(connection: Connection) -> dict[str, int]:
    """Files that lie there, by reason code."""
    by_code = select(failed_files.c.reason_code, func.count()).where(failed_files.c.gone_at.is_(None))
    return {row[0]: row[1] for row in connection.execute(by_code.group_by(failed_files.c.reason_code))}
