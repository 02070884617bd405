"""The audit trail: who sent what, what was done with it, what was sent where; rows are only ever added.

Triggers write it, in the transaction of what they record, so that no path of the program can forget it; others refuse
to change or remove a row. A migration that makes one of the watched tables anew (Alembic's batch mode on SQLite) must
make its triggers anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alembic import op
from sqlalchemy import Column, Index, MetaData, Table

from spinepacs.store.columns import Key, SafeText, UtcTime

revision = "r0006"
down_revision = "r0005"

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})


def _text(name: str) -> Column[str]:
    return Column(name, SafeText, nullable=False, server_default="")


Table(
    "audit_events",
    metadata,
    Column("audit_id", Key, primary_key=True),
    Column("happened_at", UtcTime, nullable=False),
    Column("action", SafeText, nullable=False),
    *map(_text, ("study_uid", "sop_uid", "sop_class_uid", "sha256", "calling_ae", "called_ae", "peer", "destination",
                 "detail")),
    Index("ix_audit_events_happened_at", "happened_at"),
    Index("ix_audit_events_study_uid", "study_uid"),
)  # fmt: skip
Table(
    "audit_exports",
    metadata,
    Column("target", SafeText, primary_key=True),
    Column("audit_id", Key, nullable=False),
)


class Watch(NamedTuple):
    """What a trigger looks at, when, and the values of the row that it writes."""

    name: str
    on: str
    when: str
    values: dict[str, str]


_SENDER = {"calling_ae": "NEW.calling_ae", "called_ae": "NEW.called_ae", "peer": "NEW.peer"}
_IMAGE = {"sop_uid": "NEW.sop_uid", "sop_class_uid": "NEW.sop_class_uid", "sha256": "NEW.sha256"}
_OBJECT = "(SELECT {column} FROM objects WHERE sop_uid = NEW.sop_uid)"

WATCHES = (
    Watch("received", "INSERT ON arrivals", "", {
        **_IMAGE, **_SENDER, "action": "'received'",
        "detail": "CASE WHEN NEW.state = 'conflict' THEN NEW.source || ', conflict' ELSE NEW.source END"}),
    Watch("registered", "UPDATE OF state ON arrivals", "NEW.state <> OLD.state AND NEW.state <> 'received'", {
        **_IMAGE, **_SENDER, "action": "NEW.state", "study_uid": "COALESCE(NEW.study_uid, '')",
        "detail": "NEW.reason_code"}),
    Watch("read", "INSERT ON readings", "", {
        "action": "CASE WHEN NEW.refusal_code = '' THEN 'read' ELSE 'not-read' END",
        "study_uid": "NEW.study_uid", "sop_uid": "NEW.sop_uid",
        "detail": "CASE WHEN NEW.refusal_code = '' THEN NEW.model_name || ' ' || NEW.model_version || ', ' || "
                  "NEW.policy_name || ' ' || NEW.policy_version ELSE NEW.refusal_code END"}),
    Watch("made", "INSERT ON objects", "", {
        **_IMAGE, "action": "'made'", "detail": "NEW.kind",
        "study_uid": "(SELECT study_uid FROM readings WHERE reading_id = NEW.reading_id)"}),
    Watch("sent", "UPDATE OF state ON outbox",
           "NEW.state <> OLD.state AND NEW.state IN ('sent', 'committed', 'failed')", {
        "action": "CASE NEW.state WHEN 'failed' THEN 'not-sent' ELSE NEW.state END",
        "study_uid": "NEW.study_uid", "sop_uid": "NEW.sop_uid", "destination": "NEW.destination",
        "sop_class_uid": _OBJECT.format(column="sop_class_uid"), "sha256": _OBJECT.format(column="sha256"),
        "detail": "NEW.message"}),
    Watch("other", "INSERT ON events", "NEW.kind NOT IN ('duplicate', 'unreadable')", {
        "action": "NEW.kind", "study_uid": "NEW.study_uid", "sop_uid": "NEW.sop_uid", "detail": "NEW.detail"}),
)  # fmt: skip
"""Duplicates are written by the ledger itself, which knows their sender; ``unreadable`` is the state of an arrival."""

_SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000+00:00'"
_ONLY_ADDED = "audit_events: rows are only added, never changed or removed"


def upgrade() -> None:
    """Make the tables and the triggers; what happened before is in the other tables and stays there."""
    metadata.create_all(op.get_bind(), checkfirst=False)
    watch(WATCHES)
    refuse = _refuse_on_sqlite if op.get_bind().dialect.name == "sqlite" else _refuse_on_postgresql
    for statement in refuse():
        op.get_bind().exec_driver_sql(statement)


def watch(watches: Sequence[Watch]) -> None:
    """Make triggers that write the trail; for later migrations too."""
    make = _sqlite if op.get_bind().dialect.name == "sqlite" else _postgresql
    for each in watches:
        for statement in make(each):
            op.get_bind().exec_driver_sql(statement)


def _insert(watch: Watch, now: str) -> str:
    columns = ", ".join(("happened_at", *watch.values))
    return f"INSERT INTO audit_events ({columns}) VALUES ({', '.join((now, *watch.values.values()))})"  # noqa: S608 - fixed text


def _sqlite(watch: Watch) -> list[str]:
    when = f" WHEN {watch.when}" if watch.when else ""
    body = f"BEGIN {_insert(watch, _SQLITE_NOW)}; END"
    return [f"CREATE TRIGGER audit_{watch.name} AFTER {watch.on} FOR EACH ROW{when} {body}"]


def _postgresql(watch: Watch) -> list[str]:
    name, when = f"audit_{watch.name}", f" WHEN ({watch.when})" if watch.when else ""
    return [
        _function(name, f"BEGIN {_insert(watch, 'clock_timestamp()')}; RETURN NULL; END"),
        f"CREATE TRIGGER {name} AFTER {watch.on} FOR EACH ROW{when} EXECUTE FUNCTION {name}()",
    ]


def _refuse_on_sqlite() -> list[str]:
    refused = {
        "update": "UPDATE ON audit_events",
        "delete": "DELETE ON audit_events",
        # INSERT OR REPLACE removes a row without asking the trigger for DELETE.
        "replace": "INSERT ON audit_events WHEN EXISTS (SELECT 1 FROM audit_events WHERE audit_id = NEW.audit_id)",
    }
    return [
        f"CREATE TRIGGER audit_no_{name} BEFORE {what} BEGIN SELECT RAISE(ABORT, '{_ONLY_ADDED}'); END"
        for name, what in refused.items()
    ]


def _refuse_on_postgresql() -> list[str]:
    return [
        _function("audit_only_added", f"BEGIN RAISE EXCEPTION '{_ONLY_ADDED}'; END"),
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW "
        "EXECUTE FUNCTION audit_only_added()",
        "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT "
        "EXECUTE FUNCTION audit_only_added()",
    ]


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
