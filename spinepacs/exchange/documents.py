"""Documents about a study's films, beside the DICOM objects: made once, kept in the spool, sent like all objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from spinepacs.domain.findings import (
    DOCUMENTS,
    EncodedObject,
    ImageResult,
    ObjectKind,
    Reading,
    Refusal,
    StudyResult,
)
from spinepacs.domain.study import FilmOwner
from spinepacs.domain.told import NOTHING, SoFar, Told
from spinepacs.errors import BadSettings
from spinepacs.exchange import hl7
from spinepacs.exchange.fhir.bundle import Version, bundle, document_uid
from spinepacs.exchange.fhir.coding import Resource

_NOTHING_YET = SoFar()


@dataclass(frozen=True)
class Wanted:
    """Which documents are made, and whose the films are.

    Parameters
    ----------
    kinds
        Those that any destination is sent.
    owners
        By SOP Instance UID.
    version
        Of FHIR.
    """

    kinds: Collection[str]
    owners: Mapping[str, FilmOwner]
    version: Version

    def made(
        self, owner: FilmOwner, readings: Sequence[Reading], told: Told = NOTHING
    ) -> list[EncodedObject]:
        """Make those about films of one owner; none where nothing is left to say, and nothing was ever said."""
        if not any(reading.refusal is None or told.of(reading) for reading in readings):
            return []
        kinds = (kind for kind in DOCUMENTS if kind.value in self.kinds)
        return [document(kind, owner, readings, self.version, told) for kind in kinds]

    def by_owner(self, readings: Iterable[Reading]) -> dict[FilmOwner, list[Reading]]:
        """Readings by whose they are."""
        grouped: dict[FilmOwner, list[Reading]] = {}
        for reading in readings:
            grouped.setdefault(self.owners.get(reading.sop_uid, FilmOwner()), []).append(reading)
        return grouped


def with_documents(
    result: StudyResult, wanted: Wanted, so_far: SoFar = _NOTHING_YET, *, is_sent: bool = True
) -> StudyResult:
    """Add the wanted documents, each to the first film that it speaks of, or to the last correction that it tells of.

    Films of one patient and request are in one document; a study that names several patients has one for each. What a
    model has read is in a document with what it has read at the same time; a film of which a person has made a reading
    is not: nobody is contradicted. After a correction one document tells of all films.

    Parameters
    ----------
    so_far
        The study before this result.
    is_sent
        Whether what the model has read is sent to anybody.
    """
    persons = {reading.sop_uid for reading in so_far.readings if reading.correction}
    fresh = [image.reading for image in result.images if is_sent and image.reading.refusal is None]
    fresh = [reading for reading in fresh if reading.sop_uid not in persons]
    corrected = wanted.by_owner(each.reading for each in _made(result.corrections))
    first = {
        readings[0].sop_uid: wanted.made(owner, readings)
        for owner, readings in wanted.by_owner(fresh).items()
        if owner not in corrected
    }
    after = so_far.after([*fresh, *(each.reading for each in _made(result.corrections))])
    current = wanted.by_owner(after.readings)
    anew = {
        readings[-1].sop_uid: wanted.made(owner, current[owner], after.told_to(owner))
        for owner, readings in corrected.items()
    }
    images = (_with(image, first) for image in result.images)
    corrections = (each if isinstance(each, Refusal) else _with(each, anew) for each in result.corrections)
    return replace(result, images=tuple(images), corrections=tuple(corrections))


def _made(corrections: Iterable[ImageResult | Refusal]) -> list[ImageResult]:
    return [each for each in corrections if isinstance(each, ImageResult)]


def _with(image: ImageResult, documents: Mapping[str, Sequence[EncodedObject]]) -> ImageResult:
    more = documents.get(image.reading.sop_uid)
    return replace(image, objects=(*image.objects, *more)) if more else image


def document(
    kind: ObjectKind, owner: FilmOwner, readings: Sequence[Reading], version: Version, told: Told = NOTHING
) -> EncodedObject:
    """Make one document; its UID is the same whenever the same readings are in it.

    Parameters
    ----------
    told
        What earlier documents have said of the films.
    """
    if kind is ObjectKind.FHIR:
        found = bundle(owner, readings, version, told)
        content = json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    else:
        content = hl7.message(owner, readings, datetime.now(UTC), told).encode()
    uid = hl7.document_uid(readings) if kind is ObjectKind.HL7 else document_uid(readings)
    return EncodedObject(kind, readings[0].sop_uid, uid, "", "", "", content)


def bundle_of_study(so_far: SoFar, owners: Mapping[str, FilmOwner], version: Version) -> Resource:
    """Make one Bundle of the current readings of all films of a study.

    Raises
    ------
    BadSettings
        If nothing was read, or its films name several patients or requests.
    """
    readings = so_far.readings
    if not readings:
        raise BadSettings(
            "no film of that study was read: see spinepacs queue and spinepacs findings --study"
        )
    of_films = {owners.get(reading.sop_uid, FilmOwner()) for reading in readings}
    if len(of_films) > 1:
        raise BadSettings("the films of that study name several patients or requests: see spinepacs queue")
    (owner,) = of_films
    return bundle(owner, readings, version, so_far.told_to(owner))
