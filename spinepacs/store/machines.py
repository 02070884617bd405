"""Which machines work on this database, which of them live, and which spool belongs to it.

A machine is one supervisor (``spinepacs serve``) from its start to its end; it beats. Nobody's clock decides about life
and death: each looks whether the others' count of beats goes on (see :mod:`spinepacs.cluster.membership`). Where there
is one machine only, nobody registers and nothing here has a row but the spool.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.insertion import insert_into
from spinepacs.store.records import EventKind
from spinepacs.store.studies import return_orphans
from spinepacs.store.tables import installation, machines

STOPPED, TAKEN_FOR_DEAD = "stopped", "taken for dead"
_REMEMBERED = timedelta(days=7)
_SPOOL = "spool"

Traffic = Mapping[str, tuple[int, int]]
"""By IP address how many connections it has now, and how many it made within the last minute."""


@dataclass(frozen=True)
class Machine:
    """A machine as it said last; ``beats`` grows while it lives."""

    machine_id: str
    name: str
    role: str
    started_at: datetime
    beat_at: datetime
    beats: int
    processes: Mapping[str, Any]
    traffic: Traffic


@dataclass(frozen=True)
class Machines:
    """The part of the ledger that is about machines; each method is one transaction, as the ledger's."""

    database: Database

    def join(self, name: str, role: str) -> str:
        """Register a machine that has just started; its identity, which no other ever had."""
        machine_id = uuid.uuid4().hex
        self.database.write(_join, machine_id, name, role)
        return machine_id

    def beat(self, machine_id: str, processes: Mapping[str, Any], traffic: Traffic) -> bool:
        """Say that it lives, and how its processes go; False: others have taken it for dead meanwhile."""
        return self.database.write(_beat, machine_id, processes, traffic)

    def living(self) -> list[Machine]:
        """All that have not ended, oldest first."""
        wanted = [machines.c[name] for name in Machine.__dataclass_fields__]
        rows = select(*wanted).where(machines.c.ended_at.is_(None)).order_by(machines.c.started_at)
        with self.database.read() as connection:
            return [Machine(**row._mapping) for row in connection.execute(rows)]

    def leave(self, machine_id: str) -> None:
        """End in order: what it has in hand is returned."""
        self.database.write(_end, machine_id, None, STOPPED)

    def bury(self, machine: Machine) -> int | None:
        """Take a machine for dead unless it has beaten since; how many studies it had in hand. None: it lives."""
        return self.database.write(_end, machine.machine_id, machine.beats, TAKEN_FOR_DEAD)

    def spool(self) -> str:
        """Identity of the spool that belongs to this database; empty: none yet."""
        known = select(installation.c.value).where(installation.c.name == _SPOOL)
        with self.database.read() as connection:
            return str(connection.execute(known).scalar() or "")

    def adopt_spool(self, identity: str) -> str:
        """Identity of the spool that belongs to this database: that of the first one which was offered."""
        return self.database.write(_adopt_spool, identity)

    def change_spool(self, identity: str) -> None:
        """Take another spool, by a person's decision: the old one is lost, or was moved."""
        self.database.write(_change_spool, identity)


def _join(connection: Connection, machine_id: str, name: str, role: str) -> None:
    now = datetime.now(UTC)
    connection.execute(machines.delete().where(machines.c.ended_at < now - _REMEMBERED))
    row = {"machine_id": machine_id, "name": name, "role": role, "started_at": now, "beat_at": now}
    connection.execute(insert(machines).values(row | {"processes": {}, "traffic": {}}))


def _beat(connection: Connection, machine_id: str, processes: Mapping[str, Any], traffic: Traffic) -> bool:
    said = {"processes": dict(processes), "traffic": dict(traffic)}
    beaten = update(machines).where(machines.c.machine_id == machine_id, machines.c.ended_at.is_(None))
    now = {"beats": machines.c.beats + 1, "beat_at": datetime.now(UTC)}
    return bool(connection.execute(beaten.values(now | said)).rowcount)


def _end(connection: Connection, machine_id: str, beats: int | None, how: str) -> int | None:
    ended = update(machines).where(machines.c.machine_id == machine_id, machines.c.ended_at.is_(None))
    if beats is not None:
        ended = ended.where(machines.c.beats == beats)
    row = connection.execute(
        ended.values(ended_at=datetime.now(UTC), ended_how=how).returning(machines.c.name)
    ).first()
    if row is None:
        return None
    if how == TAKEN_FOR_DEAD:
        events.add(connection, EventKind.MACHINE_LOST, detail=row.name)
    return return_orphans(connection, (), "")


def _adopt_spool(connection: Connection, identity: str) -> str:
    offered = (
        insert_into(connection, installation).values(name=_SPOOL, value=identity).on_conflict_do_nothing()
    )
    connection.execute(offered)
    known = select(installation.c.value).where(installation.c.name == _SPOOL)
    return str(connection.execute(known).scalar_one())


def _change_spool(connection: Connection, identity: str) -> None:
    _adopt_spool(connection, identity)
    connection.execute(update(installation).where(installation.c.name == _SPOOL).values(value=identity))
    events.add(connection, EventKind.SPOOL_CHANGED)
