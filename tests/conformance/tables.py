"""Every table of the page, by its name there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.conformance import asking, listening, objects, private_codes, report, security

TABLES: dict[str, Callable[[], str]] = {
    "services": listening.services,
    "classes": listening.refused_classes,
    "film-syntaxes": listening.film_syntaxes,
    "identification": listening.identification,
    "listener-limits": listening.listener_limits,
    "rejections": listening.rejections,
    "store-statuses": listening.store_statuses,
    "report-statuses": listening.report_statuses,
    "sender-defaults": asking.sender_defaults,
    "sender-statuses": asking.sender_statuses,
    "commitment-reasons": asking.commitment_reasons,
    "query-syntaxes": asking.query_syntaxes,
    "query-keys": asking.query_keys,
    "stow-statuses": asking.stow_statuses,
    "workitem-attributes": asking.workitem_attributes,
    "ciphers": security.ciphers,
    "audit-events": security.audit_events,
    "character-sets": security.character_sets,
    "results": objects.results,
    "patient-and-study": objects.patient_and_study,
    "strict": objects.strict_segmentation,
    "report-concepts": report.concepts,
    "private-codes": private_codes.listed,
    **{
        f"iod-{name.lower()}": partial(objects.attributes, name)
        for name in objects.NAMES
        if name != objects.SAME_REPORT
    },
}
