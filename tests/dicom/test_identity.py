"""UIDs, times and descriptions: the same reading gives the same, another reading gives others."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import product

import pydicom
import pytest
from pydicom.uid import UID

from spinepacs.dicom.identity import (
    derived_uid,
    made_at,
    object_uid,
    series_description,
    series_number,
)
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import ObjectKind, Versions
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings

DICOM_KINDS = (ObjectKind.SEG, ObjectKind.SR, ObjectKind.OVERLAY, ObjectKind.GSPS, ObjectKind.PDF)
SOURCE = "1.2.840.113619.2.5.1762583153.215519.978957063.78"


def test_a_derived_uid_is_stable_and_valid() -> None:
    uid = derived_uid(SOURCE, ObjectKind.SEG, readings.VERSIONS)

    assert uid == derived_uid(SOURCE, ObjectKind.SEG, readings.VERSIONS)
    assert UID(uid).is_valid
    assert len(uid) <= 64
    # Written down, so that a later change of the rule is noticed: archives hold objects under these UIDs.
    assert uid == "2.25.232086649285254312616154273544322551534"


@pytest.mark.parametrize(
    "other",
    [
        derived_uid(SOURCE + "0", ObjectKind.SEG, readings.VERSIONS),
        derived_uid(SOURCE, ObjectKind.SR, readings.VERSIONS),
        derived_uid(SOURCE, ObjectKind.SEG, replace(readings.VERSIONS, model_name="spine-v1")),
        derived_uid(SOURCE, ObjectKind.SEG, replace(readings.VERSIONS, model_version="0.2")),
        derived_uid(SOURCE, ObjectKind.SEG, replace(readings.VERSIONS, policy_name="strict")),
        derived_uid(SOURCE, ObjectKind.SEG, replace(readings.VERSIONS, policy_version="2")),
        derived_uid(SOURCE, ObjectKind.SEG, readings.VERSIONS, "series"),
    ],
)
def test_whatever_a_thing_is_made_of_changes_its_uid(other: str) -> None:
    assert other != derived_uid(SOURCE, ObjectKind.SEG, readings.VERSIONS)


def test_what_one_part_ends_with_cannot_be_what_the_next_begins_with() -> None:
    assert derived_uid(SOURCE, "SEG", Versions("ab", "c", "d", "e")) != derived_uid(
        SOURCE, "SEG", Versions("a", "bc", "d", "e")
    )


def test_no_two_objects_of_an_image_share_a_uid() -> None:
    reading = readings.reading(readings.header())
    settings = [
        OutputSettings(segmentation=encoding, segmentation_enabled=enabled)
        for encoding in ("compat", "strict", "labelmap")
        for enabled in (True, False)
    ]
    three_d = OutputSettings(report="comprehensive-3d")
    used = [
        object_uid(reading, kind, output, part)
        for kind, output, part in product((ObjectKind.SEG, ObjectKind.SR), settings, ("sop", "series"))
        if kind is ObjectKind.SR or output.segmentation_enabled
    ]
    used += [object_uid(reading, ObjectKind.SR, three_d, part) for part in ("sop", "series")]
    of_one = (ObjectKind.OVERLAY, ObjectKind.GSPS, ObjectKind.PDF)
    used += [object_uid(reading, kind, settings[0], part) for kind in of_one for part in ("sop", "series")]
    assert len(set(used)) == len(used)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, datetime(2026, 1, 2, 10, 31)),
        ({"ContentTime": "1031"}, datetime(2026, 1, 2, 10, 31)),
        ({"ContentTime": "103105.250"}, datetime(2026, 1, 2, 10, 31, 5)),
        ({"ContentTime": None}, datetime(2026, 1, 2)),
        ({"ContentDate": None}, datetime(2026, 1, 2, 10, 31)),
        ({"ContentDate": "20261340", "AcquisitionDate": None}, datetime(2026, 1, 2, 10, 30)),
        ({"ContentDate": None, "AcquisitionDate": None, "StudyDate": ""}, datetime(1970, 1, 1)),
    ],
)
def test_the_time_of_an_object_is_the_source_s_own(
    elements: dict[str, str | None], expected: datetime
) -> None:
    with pydicom.config.disable_value_validation():
        assert made_at(readings.header(**elements)) == expected


def test_results_stand_behind_the_series_that_they_belong_to() -> None:
    numbers = [
        series_number(readings.header(SeriesNumber=number), kind)
        for kind in DICOM_KINDS
        for number in (None, 1, 2, 99, 12345)
    ]
    assert numbers[:5] == [7001, 7011, 7021, 7991, 7451]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_the_description_says_what_it_is_and_fits_into_lo(kind: ObjectKind) -> None:
    whole = readings.reading(readings.header(), first=Level.T10, count=6)
    text = series_description(whole, kind)
    assert "T10-L3" in text
    assert "not for diagnostic use" in text
    assert len(text) <= 64
