"""How far the audit trail has been exported. Triggers write it (migration r0006), and ``events.add_duplicate``."""

from __future__ import annotations

from sqlalchemy import Connection, select

from spinepacs.store.insertion import insert_into
from spinepacs.store.tables import audit_exports


def exported(connection: Connection, target: str) -> int:
    """See Ledger.audit_exported."""
    reached = select(audit_exports.c.audit_id).where(audit_exports.c.target == target)
    return int(connection.execute(reached).scalar() or 0)


def mark_exported(connection: Connection, target: str, audit_id: int) -> None:
    """See Ledger.mark_audit_exported."""
    row = insert_into(connection, audit_exports).values(target=target, audit_id=audit_id)
    connection.execute(
        row.on_conflict_do_update(index_elements=["target"], set_={"audit_id": row.excluded.audit_id})
    )
