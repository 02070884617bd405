"""One line of the check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """What was looked at, whether the daemon can work with it, and what was seen, or what to do."""

    name: str
    ok: bool
    detail: str
