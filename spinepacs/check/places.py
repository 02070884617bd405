"""Files, folders and ports of this machine, seen as the user that the daemon runs as. Nothing is made or changed."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import spinepacs
from spinepacs.check.result import CheckResult
from spinepacs.errors import BadSettings, SpinepacsError
from spinepacs.settings.sections import StorageSettings
from spinepacs.store import lock
from spinepacs.store.rights import name_of, nearest, why_denied

_MB = 1_000_000
_LOOKED_AT = 1000
"""So many files of a spool are asked whom they belong to: one that was made by the wrong user is seldom alone."""


def become(name: str | None, spool: Path) -> None:
    """Let this process be the user that the daemon runs as, where root asks: root may do what the daemon may not.

    Parameters
    ----------
    name
        The user; None: whom the spool belongs to, or the nearest folder above it that is there.

    Raises
    ------
    BadSettings
        If there is no such user, or this process may not become it.
    """
    if name is None:
        uid = nearest(spool).stat().st_uid
        if os.geteuid() != 0 or uid == 0:
            return
        name = name_of(uid)
    try:
        user = pwd.getpwnam(name)
        if user.pw_uid == os.geteuid():
            return
        for module in (os, spinepacs):
            _check_readable(Path(str(module.__file__)), user)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except KeyError:
        raise BadSettings(f"there is no user {name!r} on this machine: useradd --system {name}") from None
    except PermissionError:
        raise BadSettings(f"only root can check as another user: run it as {name}, or as root") from None


def _check_readable(file: Path, user: pwd.struct_passwd) -> None:
    """Check that a user may read an installation, as far as the rights of everybody and of its owner tell."""
    for place in file.resolve().parents:
        status = place.stat()
        mine = (
            stat.S_IXUSR
            if status.st_uid == user.pw_uid
            else stat.S_IXGRP
            if status.st_gid == user.pw_gid
            else 0
        )
        if not status.st_mode & (stat.S_IXOTH | mine):
            raise BadSettings(
                f"{user.pw_name} may not enter {place}, in which this installation lies: install it where the daemon's "
                "user may read, for instance in /opt"
            )


def user(spool: Path) -> CheckResult:
    """As whom all of this is checked, and whether others have left files where the daemon writes."""
    me = os.geteuid()
    wrong = next(islice((path for path, uid in _owners(spool) if uid != me), 1), None)
    if wrong is not None:
        owner = name_of(wrong.lstat().st_uid)
        return CheckResult(
            "user",
            False,
            f"{wrong} belongs to {owner}, but the daemon's user is {name_of(me)}: chown -R {name_of(me)} {spool}, or "
            "check as the daemon's user with --user",
        )
    hint = "; if the daemon runs as another user, give --user NAME" if me == 0 else ""
    return CheckResult("user", True, f"{name_of(me)}{hint}")


def _owners(spool: Path) -> Iterator[tuple[Path, int]]:
    """Whom the spool's folders and some of its files belong to."""
    if not os.path.exists(spool):
        return
    looked = 0
    for folder, _, names in os.walk(spool):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            try:
                yield path, path.lstat().st_uid
            except OSError:  # gone meanwhile
                continue
            looked += 1
        if looked > _LOOKED_AT:
            return


def is_running(spool: Path) -> bool:
    """Whether a daemon works on this spool now."""
    try:
        holder = lock.look(spool)
    except SpinepacsError:
        return False
    return holder is not None and holder.alive


def spool(settings: StorageSettings) -> CheckResult:
    """Whether the daemon may write there, and whether the disk has room."""
    place = settings.folder
    for folder in (place, place / "files", place / "tmp"):
        if denied := why_denied("storage.spool", folder):
            return CheckResult("spool", False, denied)
    free_mb = shutil.disk_usage(nearest(place)).free // _MB
    there = "" if os.path.exists(place) else " (not there yet: the daemon's start makes it)"
    ok = free_mb > settings.reserve_mb
    return CheckResult(
        "spool", ok, f"{place}{there}: {free_mb} MB free, {settings.reserve_mb} MB kept in reserve"
    )


def watched(folder: Path, create: bool) -> CheckResult:
    """Whether files can be taken out of the watched folder and put aside in it, or it is made at the start."""
    if denied := why_denied("watch.folder", folder):
        return CheckResult("watched folder", False, denied)
    if not os.path.isdir(folder):
        why = "is made at the start (watch.create)"
        if not create:
            why = "is not there: mount its share, make it, or set watch.create"
        return CheckResult("watched folder", create, f"{folder} {why}")
    return CheckResult("watched folder", True, str(folder))


def port(name: str, bind: str, number: int, is_running: bool) -> CheckResult:
    """Whether a port is free; nothing listens on it while it is tried."""
    where = f"{bind} port {number}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(bind, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and is_running:
            return CheckResult(name, True, f"{where}: in use, while a daemon runs on this spool")
        if error.errno == errno.EADDRINUSE:
            return CheckResult(
                name, False, f"{where} is taken by another program: see `ss -ltnp`, or set another"
            )
        why = {
            errno.EADDRNOTAVAIL: "this machine has no such address",
            errno.EACCES: "ports below 1024 are for root",
        }
        return CheckResult(name, False, f"{where}: {why.get(error.errno or 0, error.strerror)}")
    return CheckResult(name, True, f"{where}: free")
