"""Machines: how much they did in the last day, or month, as plots; which processes run is beside the destinations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from starlette.responses import Response

from spinepacs.language import _
from spinepacs.store.samples import Sample
from spinepacs.web.course import HEIGHT, SPANS, WIDTH, Series, draw
from spinepacs.web.site import Visit


def show(visit: Visit) -> Response:
    """The page."""
    wanted = visit.request.query_params.get("span", "")
    span = next((each for each in SPANS if each.key == wanted), SPANS[0])
    now = datetime.now(UTC)
    samples = visit.site.ledger.samples.since(now - span.lasts)
    names = sorted({name for sample in samples for name in (*sample.sent, *sample.outbox)})
    courses = [draw(series, samples, span, now) for series in _all(names)]
    return visit.page(
        "machines.html",
        courses=courses,
        spans=[(each.key, _(each.name), each is span) for each in SPANS],
        size=(WIDTH, HEIGHT),
        at=f"{now:%H:%M} UTC",
        is_empty=not samples,
    )


def _all(destinations: list[str]) -> Iterator[Series]:
    by_the_hour = _("by the hour")
    yield Series(_("Studies read"), by_the_hour, lambda sample: sample.counted["studies"])
    yield Series(_("Images received"), by_the_hour, lambda sample: sample.counted["received"])
    yield Series(_("To be read"), _("studies and images"), lambda sample: sample.unread, is_rate=False)
    yield Series(_("Studies failed"), by_the_hour, lambda sample: sample.counted["failed"])
    for name in destinations:
        yield Series(_("Sent to {name}", name=name), _("objects by the hour"), sent_to(name))
        yield Series(_("Waiting for {name}", name=name), _("objects"), _waiting_for(name), is_rate=False)


def sent_to(destination: str) -> Callable[[Sample], float]:
    """What a sample says that a destination took."""
    return lambda sample: sample.sent.get(destination, 0)


def _waiting_for(destination: str) -> Callable[[Sample], float]:
    return lambda sample: sample.outbox.get(destination, 0)
