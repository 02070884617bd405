"""Every table of the page, by its name there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.conformance import network, objects, private_codes

TABLES: dict[str, Callable[[], str]] = {
    "services": network.services,
    "classes": network.refused_classes,
    "film-syntaxes": network.film_syntaxes,
    "identification": network.identification,
    "listener-limits": network.listener_limits,
    "rejections": network.rejections,
    "store-statuses": network.store_statuses,
    "report-statuses": network.report_statuses,
    "sender-defaults": network.sender_defaults,
    "sender-statuses": network.sender_statuses,
    "commitment-reasons": network.commitment_reasons,
    "query-syntaxes": network.query_syntaxes,
    "query-keys": network.query_keys,
    "stow-statuses": network.stow_statuses,
    "ciphers": network.ciphers,
    "audit-events": network.audit_events,
    "character-sets": network.character_sets,
    "results": objects.results,
    "patient-and-study": objects.patient_and_study,
    "report-concepts": objects.report_concepts,
    "private-codes": private_codes.listed,
    **{f"iod-{name.lower()}": partial(objects.attributes, name) for name in objects.NAMES},
}
