"""Runs a program under the system-call filter and the memory rule of deploy/spinepacs.service.

    python3 tests/sandbox.py deploy/spinepacs.service PROGRAM ARGUMENTS…

It is a program of its own for Debian's python3, which has libseccomp's module (package python3-seccomp). What systemd
does with mounts and users is left out: that needs systemd itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1


def settings_of(unit: str, name: str) -> list[str]:
    """Values of one setting of a unit file, in their order."""
    return re.findall(rf"^{name}=(.*)$", unit, flags=re.MULTILINE)


def allowed_calls(unit: str) -> set[str]:
    """System calls that the unit's filter lets through."""
    allowed: set[str] = set()
    for line in settings_of(unit, "SystemCallFilter"):
        calls = {call for name in line.removeprefix("~").split() for call in members(name)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def members(name: str) -> set[str]:
    """System calls of a group of systemd's, or the call itself."""
    if not name.startswith("@"):
        return {name}
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    words = [line.strip() for line in told.stdout.splitlines()[1:] if line.strip()]
    return {call for word in words if not word.startswith("#") for call in members(word)}


def enter(unit: str) -> None:
    """Put this process, and what it starts, under the unit's rules."""
    import seccomp

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if settings_of(unit, "MemoryDenyWriteExecute") == ["yes"] and libc.prctl(
        PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0
    ):
        print("this kernel has no PR_SET_MDWE", file=sys.stderr)
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for call in sorted(allowed_calls(unit)):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except RuntimeError:  # a call of another processor, or newer than libseccomp
            continue
    rules.load()


if __name__ == "__main__":
    enter(Path(sys.argv[1]).read_text())
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is what it is for
