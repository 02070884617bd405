"""Destinations and machines: what waits where, whether it answers, how long certificates last, how processes go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from spinepacs.delivery.echo import echo as send_echo
from spinepacs.delivery.pace import open_for_s
from spinepacs.errors import BadSettings
from spinepacs.health_pages import readiness
from spinepacs.language import _, n_
from spinepacs.settings.destinations import Destination, DicomDestination, WebDestination
from spinepacs.settings.settings import Settings
from spinepacs.store.queries import step_seconds
from spinepacs.store.records import age_s
from spinepacs.tls import certificates
from spinepacs.web.course import recent_rate
from spinepacs.web.machines import sent_to
from spinepacs.web.queue import span, towards
from spinepacs.web.site import Visit

Row = dict[str, Any]
_HEALTH_TIMEOUT_S = 2.0
_SOON_DAYS = 30


def show(visit: Visit) -> Response:
    """The page; its numbers are asked for again every few seconds."""
    settings = visit.site.settings
    steps = sorted(step_seconds(visit.site.ledger).items(), key=lambda item: -item[1])
    longest = max((seconds for _, seconds in steps), default=1.0)
    bars = [(name, seconds, 100 * seconds / longest) for name, seconds in steps]
    return visit.page(
        "destinations.html",
        certificates=list(_certificates(settings)),
        steps=bars,
        soon=_SOON_DAYS,
        **_now(visit),
    )


def now(visit: Visit) -> Response:
    """What changes of the page."""
    return visit.page("destinations_now.html", **_now(visit))


def echo(visit: Visit) -> Response:
    """Ask a destination whether it answers, and say what it said."""
    name = visit.form.get("destination", "")
    settings = visit.site.settings
    destination = next((each for each in settings.destinations if each.name == name), None)
    if destination is None:
        raise HTTPException(404, _("there is no such destination"))
    visit.note("command", detail=f"echo {name}")
    own_title = destination.calling_ae_title if isinstance(destination, DicomDestination) else None
    answers, said = send_echo(destination, own_title or settings.listener.ae_title)
    return visit.page("echo.html", name=name, answers=answers, said=said)


def _now(visit: Visit) -> Row:
    settings, ledger = visit.site.settings, visit.site.ledger
    names = [each.name for each in settings.destinations]
    waiting = {row["name"]: row for row in towards(ledger.open_counts(), names)}
    now = datetime.now(UTC)
    last_hour = ledger.samples.since(now - timedelta(hours=1))
    known = [
        _destination(each, waiting.pop(each.name, {}))
        | {"rate": recent_rate(last_hour, sent_to(each.name), now)}
        for each in settings.destinations
    ]
    return {
        "destinations": known,
        "strays": list(waiting.values()),
        "machines": list(_machines(visit)),
        "notifications": list(_notifications(visit)),
        "at": f"{datetime.now(UTC):%H:%M:%S} UTC",
    }


def _destination(destination: Destination, waiting: Row) -> Row:
    counts = {state: waiting.get(state, 0) for state in ("pending", "failed", "uncommitted")}
    is_open = open_for_s(destination.hours, datetime.now()) > 0
    return {
        "name": destination.name,
        "where": _where(destination),
        "kind": destination.kind,
        "send": ", ".join(destination.send),
        "hours": ", ".join(destination.hours) or _("always"),
        "is_open": is_open,
        "tls": getattr(destination, "tls", False) or _where(destination).startswith("https:"),
        "commitment": destination.commits,
    } | counts


def _where(destination: Destination) -> str:
    """Its address as its kind is written; a URL holds no secret (settings/destinations.py)."""
    if isinstance(destination, WebDestination):
        return destination.url
    host, port = destination.address
    return f"{destination.title}@{host}:{port}".removeprefix("@")


def _machines(visit: Visit) -> Iterator[Row]:
    """The processes of every machine; where there is one only, what its supervisor says of itself."""
    settings = visit.site.settings
    if settings.cluster.enabled:
        for machine in visit.site.ledger.machines.living():
            silent = span(age_s(machine.beat_at, datetime.now(UTC)))
            processes = [(name, bool(life["is_up"]), _restarts(int(life.get("restarts", 0))))
                         for name, life in machine.processes.items()]  # fmt: skip
            yield {
                "name": machine.name,
                "role": machine.role,
                "beat": _("{time} ago", time=silent),
                "processes": processes,
            }
        return
    ready = readiness(settings.health, _HEALTH_TIMEOUT_S) or {}
    processes = [(name, why == "ok", "" if why == "ok" else why) for name, why in ready.items()]
    yield {"name": _("this machine"), "role": "all", "beat": "", "processes": processes}


def _restarts(number: int) -> str:
    return n_("started again {count} time", "started again {count} times", number)


def _notifications(visit: Visit) -> Iterator[Row]:
    """Who is told when something breaks, and whether that works; not to whom: addresses are for the settings."""
    channels = visit.site.settings.notifications
    standing = visit.site.ledger.notices.standing([channel.name for channel in channels])
    for channel in channels:
        stands = standing[channel.name]
        yield {
            "name": channel.name, "kind": channel.kind, "on": ", ".join(channel.on), "waiting": stands.waiting,
            "failed": stands.failed, "sent_at": stands.sent_at or "", "message": stands.message,
        }  # fmt: skip


def _certificates(settings: Settings) -> Iterator[Row]:
    """Our certificates and those of authorities, with the days that they still hold."""
    for found in certificates(settings):
        row: Row = {
            "of": found.of,
            "key": found.key,
            "file": found.file.name,
            "until": "",
            "days": None,
            "why": "",
        }
        try:
            until = found.ends_at()
        except BadSettings as error:
            yield row | {"why": str(error)}
        else:
            yield row | {"until": f"{until:%Y-%m-%d}", "days": (until - datetime.now(UTC)).days}
