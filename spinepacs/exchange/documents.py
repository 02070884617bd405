"""Documents about a study's films, beside the DICOM objects: made once, kept in the spool, sent like all objects."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading, StudyResult
from spinepacs.domain.study import FilmOwner
from spinepacs.errors import BadSettings
from spinepacs.exchange import hl7
from spinepacs.exchange.fhir.bundle import Version, bundle, report_uid
from spinepacs.exchange.fhir.coding import Resource

DOCUMENTS = (ObjectKind.FHIR, ObjectKind.HL7)
"""Kinds that describe a study, not a film."""


def with_documents(
    result: StudyResult, owners: Mapping[str, FilmOwner], wanted: Collection[str], version: Version
) -> StudyResult:
    """Add the wanted documents to the first film that each speaks of.

    Films of one patient and request are in one document; a study that names several patients has one for each.

    Parameters
    ----------
    owners
        By SOP Instance UID.
    wanted
        Kinds that any destination is sent.
    """
    kinds = [kind for kind in DOCUMENTS if kind.value in wanted]
    added: dict[str, list[EncodedObject]] = defaultdict(list)
    for owner, readings in _by_owner(result, owners).items():
        for kind in kinds:
            added[readings[0].sop_uid].append(document(kind, owner, readings, version))
    images = (
        replace(image, objects=(*image.objects, *added[image.reading.sop_uid])) if image.objects else image
        for image in result.images
    )
    return replace(result, images=tuple(images)) if kinds else result


def document(
    kind: ObjectKind, owner: FilmOwner, readings: Sequence[Reading], version: Version
) -> EncodedObject:
    """Make one document; its UID is the same whenever the same films are read by the same versions."""
    if kind is ObjectKind.FHIR:
        content = json.dumps(bundle(owner, readings, version), ensure_ascii=False, allow_nan=False).encode()
    else:
        content = hl7.message(owner, readings, datetime.now(UTC)).encode()
    uid = hl7.document_uid(readings) if kind is ObjectKind.HL7 else report_uid(readings)
    return EncodedObject(kind, readings[0].sop_uid, uid, "", "", "", content)


def bundle_of_study(
    readings: Sequence[Reading], owners: Mapping[str, FilmOwner], version: Version
) -> Resource:
    """Make one Bundle of all films of a study.

    Raises
    ------
    BadSettings
        If nothing was read, or its films name several patients or requests.
    """
    if not readings:
        raise BadSettings(
            "no film of that study was read: see spinepacs queue and spinepacs findings --study"
        )
    of_films = {owners.get(reading.sop_uid, FilmOwner()) for reading in readings}
    if len(of_films) > 1:
        raise BadSettings("the films of that study name several patients or requests: see spinepacs queue")
    return bundle(of_films.pop(), readings, version)


def _by_owner(result: StudyResult, owners: Mapping[str, FilmOwner]) -> dict[FilmOwner, list[Reading]]:
    """Readings that have results, by whose they are."""
    grouped: dict[FilmOwner, list[Reading]] = defaultdict(list)
    for image in result.images:
        if image.objects and image.reading.refusal is None:
            grouped[owners.get(image.reading.sop_uid, FilmOwner())].append(image.reading)
    return grouped
