"""ORU^R01: parsed by python-hl7, every text escaped, without what is withheld."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import Statement
from spinepacs.domain.study import FilmOwner, View
from spinepacs.exchange import hl7
from tests.dicom import readings

NOW = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)
OWNER = FilmOwner("P|1^x", "A\\1&~", "20261120")


def reading_of(**changes: Any) -> Reading:
    return readings.reading(readings.header(), **changes)


def segments(text: str, name: str) -> list[list[str]]:
    return [line.split("|") for line in text.split("\r") if line.startswith(f"{name}|")]


def test_python_hl7_reads_every_segment() -> None:
    library = pytest.importorskip("hl7")
    text = hl7.message(OWNER, [reading_of()], NOW)
    parsed = library.parse(text)
    assert str(parsed) == text
    assert str(parsed.segment("MSH")[9]) == "ORU^R01^ORU_R01"
    assert str(parsed.segment("MSH")[18]) == "UNICODE UTF-8"
    assert str(parsed.segment("PID")[3]) == "P\\F\\1\\S\\x^^^^MR"
    assert str(parsed.segment("OBR")[18]) == "A\\E\\1\\T\\\\R\\"
    assert str(parsed.segment("OBR")[25]) == "P"
    numbers = [str(each[1]) for each in parsed.segments("OBX")]
    assert numbers == [str(n + 1) for n in range(len(numbers))]


@pytest.mark.parametrize("view", [View.LATERAL, View.AP])
@pytest.mark.parametrize("spacing", [readings.SPACING, None], ids=["mm", "px"])
def test_each_thing_is_said_once_and_can_be_told_from_the_others(view: View, spacing: Any) -> None:
    found = segments(hl7.message(OWNER, [reading_of(view=view, spacing=spacing)], NOW), "OBX")
    keys = [(each[3].split("^")[0], each[4]) for each in found]
    assert len(set(keys)) == len(keys)
    assert max(len(each[4]) for each in found) <= 20
    for each in found:
        assert each[11] == "P"
        if each[2] == "NM":
            float(each[5])


def test_values_are_those_of_the_reading_and_withheld_ones_are_missing() -> None:
    reading = reading_of()
    hidden = replace(
        reading,
        measures=tuple(replace(each, reason=Reason.IMPLANT) for each in reading.measures),
        findings=tuple(replace(each, published_grade=None) for each in reading.findings),
        conclusions=tuple(replace(each, statement=Statement.WITHHELD) for each in reading.conclusions),
    )
    found = segments(hl7.message(OWNER, [reading], NOW), "OBX")
    shown = [each[5] for each in found if each[2] == "NM" and "_margin" not in each[3]]
    assert len(shown) == len(reading.published_measures)
    assert float(shown[0]) == pytest.approx(reading.published_measures[0].value, abs=0.006)
    assert {each[2] for each in segments(hl7.message(OWNER, [hidden], NOW), "OBX")} == {"ST", "CWE"}
    assert len(segments(hl7.message(OWNER, [hidden], NOW), "OBX")) == 3


def test_films_of_one_study_are_in_one_message_whose_control_id_is_the_same_each_time() -> None:
    first = reading_of()
    second = replace(first, sop_uid="1.2.3.4")
    text = hl7.message(OWNER, [first, second], NOW)
    assert [each[1] for each in segments(text, "OBR")] == ["1", "2"]
    later = hl7.message(OWNER, [first, second], datetime(2027, 1, 1, tzinfo=UTC))
    ids = [segments(each, "MSH")[0][9] for each in (text, later, hl7.message(OWNER, [first], NOW))]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 20
    assert ids[0] == hl7.control_id([first, second])


@given(st.text())
def test_no_text_ends_a_field(text: str) -> None:
    found = hl7.escaped(text)
    assert not set(found) & set("|^&~\r\n\x0b\x1c")
    plain = "".join(each for each in text if each not in "\r\n" and each.isprintable())
    back = found
    for escape, each in (("\\.br\\", ""), ("\\F\\", "|"), ("\\S\\", "^"), ("\\T\\", "&"), ("\\R\\", "~")):
        back = back.replace(escape, each) if "\\E\\" not in found and "\\" not in text else back
    if "\\" not in text:
        assert "".join(each for each in back if each.isprintable()) == plain
