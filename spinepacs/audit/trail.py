"""The audit trail, page by page, and who gives the commands that it names."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select

from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import arrivals, audit_events, objects, readings, studies

PAGE_ROWS = 1000
"""So many rows are held in memory at a time."""


def operator() -> str:
    """Who runs this command: the user of the process, and who became that user by sudo."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container knows no names
        user = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER", "")
    return f"{user} (sudo: {before})" if before else user


def _of_film(name: str) -> ColumnElement[str]:
    """What the film of a row, or of the row's object, says; else its study."""
    this, of_study = audit_events.c.sop_uid, arrivals.c.study_uid == audit_events.c.study_uid
    came = select(arrivals.c[name]).where(arrivals.c.sop_uid == this, of_study).limit(1)
    made = (
        select(arrivals.c[name])
        .join(readings, readings.c.arrival_id == arrivals.c.arrival_id)
        .join(objects, objects.c.reading_id == readings.c.reading_id)
        .where(objects.c.sop_uid == this)
        .limit(1)
    )
    said = [came.scalar_subquery(), made.scalar_subquery(), studies.c[name]]
    return func.coalesce(*(func.nullif(value, "") for value in said), "")


def pages(
    ledger: Ledger, after: int = 0, since: datetime | None = None, until: datetime | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Give the trail in the order in which it was written, page by page.

    Parameters
    ----------
    after
        Only rows whose ``audit_id`` is greater.
    since, until
        Zone-aware times: from ``since`` on, and before ``until``.

    Returns
    -------
    Pages of rows: the columns of ``audit_events``, and ``patient_id`` and ``accession_number`` of the film, or of what
    was made from it, else of the study (empty where there is none), which the trail itself does not hold.
    """
    patient = [_of_film(name).label(name) for name in ("patient_id", "accession_number")]
    question = (
        select(audit_events, *patient)
        .outerjoin(studies, studies.c.study_uid == audit_events.c.study_uid)
        .order_by(audit_events.c.audit_id)
        .limit(PAGE_ROWS)
    )
    if since is not None:
        question = question.where(audit_events.c.happened_at >= since)
    if until is not None:
        question = question.where(audit_events.c.happened_at < until)
    while page := ledger.rows(question.where(audit_events.c.audit_id > after)):
        yield page
        after = page[-1]["audit_id"]
