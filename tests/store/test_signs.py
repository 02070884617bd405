"""Measures, signs and conclusions in the tables; an older database with rows; a disc through the years."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import insert, select, text

from spinepacs.errors import BadSettings
from spinepacs.show.sheet import draw as sheet
from spinepacs.store import migration, queries
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Filters
from spinepacs.store.tables import REVISION, discs, measures
from tests.store.conftest import Ask
from tests.store.makers import NEWER, STUDY, recorded, recorded_with_signs, result_of, stored, take_in

OLD_ROWS = (
    "INSERT INTO studies (study_uid, state, due_at, first_arrival_at, last_arrival_at, changed_at, patient_id,"
    " patient_sex, accession_number, study_description, modality, body_part) VALUES ('1', 'recorded', :at, :at, :at,"
    " :at, 'PAT-1', 'F', '', '', 'DX', 'LSPINE')",
    "INSERT INTO arrivals (arrival_id, sop_uid, sop_class_uid, transfer_syntax_uid, sha256, size_bytes, source,"
    " calling_ae, called_ae, peer, received_at, state, study_uid) VALUES (1, '1.1', '', '', '', 1, 'folder', '', '',"
    " '', :at, 'selected', '1')",
    "INSERT INTO readings (reading_id, arrival_id, study_uid, series_uid, sop_uid, model_name, model_version,"
    " policy_name, policy_version, read_at, rows_px, columns_px, anterior_basis, missing_levels, notes, seconds)"
    " VALUES (1, 1, '1', '1.0', '1.1', 'm', '1', 'p', '1', :at, 9, 9, '', 'L3', 'WINDOW_ABSURD CUT', '{}')",
    "INSERT INTO vertebrae (reading_id, level, level_order, raw_level, level_reason, outline_px)"
    " VALUES (1, 'L4', 22, 'L4', '', '[]')",
    "INSERT INTO discs (reading_id, disc, disc_order, upper_level, lower_level, middle_px, height_index, lines_px)"
    " VALUES (1, 'L4/L5', 22, 'L4', 'L5', 60, 0.3, '{}')",
    "INSERT INTO findings (reading_id, kind, disc, value, unit, computed_grade, published_grade, reason)"
    " VALUES (1, 'disc_height_loss', 'L4/L5', 0.31, 'ratio', 2, NULL, 'LEVEL_AMBIGUOUS')",
)
AT = "2026-01-01 00:00:00.000000+00:00"


@pytest.fixture
def old_url(empty_url: str) -> str:
    """A database as r0002 made it, with one reading."""
    database = Database(empty_url)
    config = Config()
    config.set_main_option("script_location", str(migration._FOLDER))
    config.set_main_option("path_separator", "os")
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "r0002")
        for statement in OLD_ROWS:
            connection.execute(text(statement), {"at": AT} if ":at" in statement else {})
    database.close()
    return empty_url


def test_an_old_reading_stays_readable(old_url: str) -> None:
    with Ledger.open(old_url) as ledger:
        [finding] = queries.find(ledger, "findings")
        assert (finding["place"], finding["level_order"], finding["unit"], finding["side"]) == (
            "L4/L5",
            22,
            "1",
            "",
        )
        assert (finding["scheme"], finding["computed_grade"], finding["grade_reason"]) == (
            "spinepacs", 2, "LEVEL_AMBIGUOUS",
        )  # fmt: skip
        [disc] = queries.find(ledger, "discs")
        assert (disc["height_index"], disc["computed_stage"], disc["stage"], disc["slip_mm"]) == (
            0.3,
            2,
            None,
            None,
        )
        drawn = sheet.draw(queries.find_films(ledger))
    assert "found L4 · missing L3" in drawn
    assert "withheld, levels may be shifted by one: loss of height L4/L5 (2 middle)" in drawn


def test_the_notes_of_old_readings_get_their_rows(old_url: str) -> None:
    Ledger.open(old_url).close()
    database = Database(old_url)
    with database.read() as connection:
        assert list(connection.execute(text("SELECT code FROM notes ORDER BY 1")).scalars()) == [
            "CUT",
            "WINDOW_ABSURD",
        ]
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == REVISION
    database.close()


def test_measures_signs_and_conclusions_have_their_rows(ledger: Ledger, ask: Ask) -> None:
    recorded_with_signs(ledger)
    assert ask("measures", "value", quantity="slip", place="L5/S1") == [6.4]
    assert ask("measures", "basis", quantity="slip") == ["detector-plane"]
    assert ask("measures", "upper_level", place="L1-S1") == ["L1"]
    assert ask("measures", "apex", quantity="cobb_main") == ["T9"]
    assert ask("findings", "side", level="L5") == ["lower_anterior"]
    assert ask("findings", "highest_grade", kind="spondylolisthesis") == [1]
    assert ask("findings", "form", level="L4") == ["wedge"]
    assert ask("conclusions", "published_degree", area="lumbosacral") == [2]
    assert ask("conclusions", "reason", area="combined") == ["TOO_FEW_DISCS"]
    assert ask("notes", "code") == ["LEVELS_SHIFTED", "WINDOW_ABSURD"]
    assert ask("study_summary", "highest_grade") == [2]
    assert ask("study_summary", "highest_degree") == [2]


@pytest.mark.parametrize(
    ("what", "filters", "found"),
    [
        ("findings", {"kind": "osteophytes"}, 2),
        ("findings", {"kind": "osteophytes", "grade": 2}, 1),
        ("findings", {"level": "L5/S1"}, 4),
        ("measures", {"kind": "slip"}, 1),
        ("measures", {"level": "L4"}, 1),
        ("conclusions", {"grade": 2}, 1),
        ("conclusions", {"kind": "cervical"}, 0),
        ("follow-up", {"level": "L5/S1"}, 1),
    ],
)
def test_rows_are_chosen(ledger: Ledger, what: str, filters: Filters, found: int) -> None:
    recorded_with_signs(ledger)
    assert len(queries.find(ledger, what, **filters)) == found


def test_what_rows_do_not_have_cannot_choose_them(ledger: Ledger) -> None:
    with pytest.raises(BadSettings, match="measures cannot be chosen by grade"):
        queries.find(ledger, "measures", grade=1)


def test_films_are_chosen_by_what_they_hold(ledger: Ledger) -> None:
    recorded_with_signs(ledger)
    assert len(queries.find_films(ledger, kind="spondylolisthesis", grade=1)) == 1
    assert queries.find_films(ledger, kind="spondylolisthesis", grade=2) == []


def test_a_disc_is_followed_through_the_years(ledger: Ledger) -> None:
    for number, (day, index) in enumerate([("20240101", 0.5), ("20250101", 0.3), ("20260101", 0.29)]):
        study = f"9.{number}"
        take_in(ledger, f"{study}.1", study, study_date=day)
        ledger.mark_ready(study)
        claim = ledger.claim(NEWER, 3)
        assert claim is not None
        ledger.record(claim, result_of(claim), stored(result_of(claim)), ())
        _set_index(ledger, f"{study}.1", index)
    rows = queries.find(ledger, "follow-up", level="L5/S1")[::-1]
    rows = [row for row in rows if row["disc"] == "L5/S1"]
    changes = [row["height_index_change"] for row in rows]
    assert changes == [None, pytest.approx(-0.2), pytest.approx(-0.01)]
    assert [row["is_beyond_error"] for row in rows] == [None, True, False]
    assert [row["previous_date"] for row in rows] == [None, "2024-01-01", "2025-01-01"]
    assert [row["middle_mm_change"] for row in rows] == [None, 0.0, 0.0]


def _set_index(ledger: Ledger, sop_uid: str, index: float) -> None:
    """Give L5/S1 of a film another height index, known to 0.02."""
    database = Database(ledger._database.url)
    with database.transaction() as connection:
        film = {"sop": sop_uid}
        key = connection.execute(
            text("SELECT reading_id FROM readings WHERE sop_uid = :sop"), film
        ).scalar_one()
        values = {"key": key, "value": index}
        connection.execute(
            text("UPDATE discs SET height_index = :value WHERE disc = 'L5/S1' AND reading_id = :key"), values
        )
        row = {"reading_id": key, "quantity": "disc_height_index", "place": "L5/S1", "value": index}
        levels = {"upper_level": "L5", "lower_level": "S1", "level_order": 23}
        connection.execute(insert(measures).values(**row, **levels, unit="1", uncertainty=0.02, lines_px=[]))
    database.close()


def test_another_model_is_not_a_change_of_the_disc(ledger: Ledger) -> None:
    recorded(ledger)
    take_in(ledger, "1.2.3.1.2")
    ledger.mark_ready(STUDY)
    claim = ledger.claim(NEWER, 3)
    assert claim is not None
    ledger.record(claim, result_of(claim), stored(result_of(claim)), ())
    rows = queries.find(ledger, "follow-up", all_versions=True)
    older = [row for row in rows if row["model_name"] == "spine-v0"]
    assert len(rows) == 6
    assert {row["previous_date"] for row in older} == {None}


def test_the_sheet_says_what_a_radiologist_asks(ledger: Ledger) -> None:
    recorded_with_signs(ledger)
    drawn = sheet.draw(queries.find_films(ledger))
    for said in (
        "found L4 L5 S1",
        "4.5 ± 0.4",  # 1.96 × 0.2 mm
        "6.4 ± 1.0 mm (20 %)",
        "antero I (0–1)",
        "Lumbar lordosis L1-S1: 48.2 ± 2.9°",
        "Cobb angle T5-L1: 21.0°, apex T9, convex to the image's right",
        "L5: lower anterior osteophytes, 2 moderate, 3.5 mm",
        "withheld, levels may be shifted by one: deformity L4 (1 mild)",
        "→ Moderate signs of osteochondrosis.",
        "→ Withheld.",
        "mm: detector-plane",
        "policy disc-height 1.0",
    ):
        assert said in drawn, drawn


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("L5", (["L5"], ["L4/L5", "L5/S1"])),
        ("L5/S1", (["L5", "S1"], ["L5/S1"])),
        ("l5-s1", (["L5", "S1"], ["L5/S1"])),
        ("L4/5", (["L4", "L5"], ["L4/L5"])),
    ],
)
def test_a_level_cuts_whole_films_down_to_it_and_its_neighbours(
    ledger: Ledger, level: str, shown: tuple[list[str], list[str]]
) -> None:
    recorded_with_signs(ledger)
    (film,) = queries.find_films(ledger, level=level)
    assert ([row["level"] for row in film["vertebrae"]], [row["disc"] for row in film["discs"]]) == shown
    places = {*shown[0], *shown[1]}
    assert {row["place"] for row in (*film["findings"], *film["measures"])} <= places
    assert film["conclusions"], "they are about regions"
    drawn = sheet.draw([film])
    assert f"found {' '.join(shown[0])}" in drawn


def test_a_level_chooses_films_that_show_it_with_or_without_a_sign(ledger: Ledger) -> None:
    recorded(ledger)
    assert len(queries.find_films(ledger, level="S1")) == 1
    assert queries.find_films(ledger, level="C2") == []
    assert queries.find_films(ledger, level="L4/L5", kind="osteophytes") == []


def test_more_films_than_a_page_holds_are_found_whole(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_FILMS_A_PAGE", 2)
    recorded_with_signs(ledger)
    for number in range(4):
        take_in(ledger, f"9.{number}.1", f"9.{number}")
        ledger.mark_ready(f"9.{number}")
        claim = ledger.claim(NEWER, 3)
        assert claim is not None
        ledger.record(claim, result_of(claim), stored(result_of(claim)), ())
    films = queries.find_films(ledger)
    assert len(films) == 5
    assert all(len(film["vertebrae"]) == 3 and len(film["discs"]) == 2 for film in films)
    assert len(queries.find_films(ledger, limit=3)) == 3
    assert [len(page) for page in ledger.pages(select(discs.c.disc), 4)] == [4, 4, 2]
