"""What the daemon's health pages say, for whoever asks on its machine: ``status``, and the console."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException

from spinepacs.settings.sections import HealthSettings

_LONGEST_BYTES = 1 << 24


def page(settings: HealthSettings, path: str, timeout_s: float) -> str | None:
    """Text of a page, also of one that says that something is not well; None: nobody answers as a daemon does."""
    if not settings.enabled or not settings.port:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.bind, settings.bind)  # noqa: S104 - what the settings may say
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{path}"
    # Not by the proxy that the environment may name for the world outside: it knows nothing of our loopback.
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        try:
            answer = directly.open(url, timeout=timeout_s)
        except urllib.error.HTTPError as error:  # not ready is an answer too
            answer = error
        with answer:
            return str(answer.read(_LONGEST_BYTES).decode())
    except (OSError, ValueError, HTTPException):
        return None


def readiness(settings: HealthSettings, timeout_s: float) -> dict[str, str] | None:
    """By part whether it is well (``ok``), else why not; None: no daemon answers, or another program has the port."""
    try:
        found = json.loads(page(settings, "/readyz", timeout_s) or "")
    except ValueError:
        return None
    return {str(name): str(why) for name, why in found.items()} if isinstance(found, dict) else None
