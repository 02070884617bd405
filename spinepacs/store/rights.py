"""What this process's user may write, and whom it belongs to otherwise."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def nearest(path: Path) -> Path:
    """The path itself, or what is there of the folders above it."""
    return next(place for place in (path, *path.parents) if os.path.exists(place))


def why_denied(what: str, path: Path) -> str:
    """Why this user may not write a path, or make it where it is missing, and what to do; empty: it may.

    A read-only file system is not meant: that passes, or is a matter of mounting.
    """
    there = nearest(path)
    if there != path and not there.is_dir():
        return f"{what}: {there} is a file where a folder has to be: move it away, or name another place"
    wanted = os.R_OK | os.W_OK | (os.X_OK if there.is_dir() else 0)
    if os.access(there, wanted) or os.statvfs(there).f_flag & os.ST_RDONLY:
        return ""
    user, owner = name_of(os.geteuid()), name_of(there.stat().st_uid)
    if there == path:
        return f"{what}: {path} belongs to {owner} and cannot be written by {user}: chown -R {user} {path}"
    first = there / path.relative_to(there).parts[0]
    return (
        f"{what}: {user} may make nothing in {there}, which belongs to {owner}: install -d -o {user} {first}"
    )


def name_of(uid: int) -> str:
    """Name of a user; a container may know none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
