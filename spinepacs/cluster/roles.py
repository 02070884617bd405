"""What a machine does, and where it may not do it."""

from __future__ import annotations

import os
import socket
from enum import StrEnum

from spinepacs.errors import Permanent
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger

MACHINE_VARIABLE = "SPINEPACS_MACHINE"
"""Environment variable that names this machine, where its host name does not."""


class Role(StrEnum):
    """``serve --role``."""

    LISTENER = "listener"
    """Takes in: C-STORE and the watched folder."""
    WORKER = "worker"
    """Reads headers and studies."""
    DELIVERY = "delivery"
    """Sends results, and the audit trail."""
    ALL = "all"

    @property
    def receives(self) -> bool:
        """Whether it takes images in."""
        return self in (Role.LISTENER, Role.ALL)

    @property
    def reads(self) -> bool:
        """Whether it has a model."""
        return self in (Role.WORKER, Role.ALL)

    @property
    def sends(self) -> bool:
        """Whether it sends results."""
        return self in (Role.DELIVERY, Role.ALL)


def machine_name() -> str:
    """Name of this machine for people."""
    return os.environ.get(MACHINE_VARIABLE) or socket.gethostname()


def check_role(settings: Settings, role: Role) -> None:
    """Refuse a part of the work where there can be no other machine that does the rest.

    Raises
    ------
    Permanent
        With what to set.
    """
    if role is not Role.ALL and not settings.cluster.enabled:
        raise Permanent(
            f"--role {role.value} is a part of the work, and cluster.enabled is off: set it, with PostgreSQL and a "
            "spool that all machines share (docs/scale.md), or leave --role away"
        )


def check_spool(ledger: Ledger, identity: str, settings: Settings, is_new: bool = False) -> None:
    """Refuse a second spool on one database: each would take the other's files for lost.

    Parameters
    ----------
    identity
        Of the spool that the settings name.
    is_new
        A person has said that it takes the place of the old one.

    Raises
    ------
    Permanent
        If the database belongs to another spool.
    """
    if is_new:
        ledger.machines.change_spool(identity)
    elif ledger.machines.adopt_spool(identity) != identity:
        raise Permanent(
            f"this database belongs to another spool than {settings.storage.spool}: name that one in storage.spool. "
            "On several machines it is one folder that all share, or object storage (docs/scale.md). If the old "
            "one is lost or was moved without its file `identity`, start once with --new-spool"
        )
