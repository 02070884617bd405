"""Two readings of one film beside each other."""

from __future__ import annotations

from typing import Any

from spinepacs.show.comparison import Comparison, changes
from spinepacs.store.progress import Pair, Sight


def body(level: str, y_px: float) -> dict[str, Any]:
    return {"level": level, "centre_x_px": 100.0, "centre_y_px": y_px, "area_px": 3600.0}


def stage(place: str, grade: int | None, kind: str = "disc_height_loss") -> dict[str, Any]:
    return {"kind": kind, "place": place, "side": "", "published_grade": grade}


def sight(*rows: dict[str, Any], refusal: str = "", name: str = "m 1 p 1") -> Sight:
    found = [row for row in rows if "kind" in row]
    return Sight(name, refusal, [row for row in rows if "level" in row], found)


def told(before: Sight, after: Sight) -> set[tuple[Any, ...]]:
    rows = changes([Pair("1", "1.1", before, after)], Comparison())
    return {(row["region"], row["what"], row["before"], row["after"], row["change"]) for row in rows}


def test_vertebrae_are_the_same_where_they_lie_at_the_same_place() -> None:
    before = sight(body("L4", 100), body("L5", 200), body("S1", 300))
    after = sight(body("L3", 110), body("L5", 205), body("S1", 345))
    assert told(before, after) == {
        ("lumbar", "level", "L4", "L3", "renamed"),
        ("sacral", "level", "S1", None, "lost"),
        ("sacral", "level", None, "S1", "found"),
    }


def test_stages_are_compared_as_they_are_published() -> None:
    before = sight(
        stage("L4/L5", 1), stage("L5/S1", 2), stage("C5/C6", None), stage("T1/T2", 3), stage("L1/L2", None)
    )
    after = sight(
        stage("L4/L5", 2), stage("L5/S1", None), stage("C5/C6", 0), stage("T1/T2", 1), stage("L1/L2", None)
    )
    assert told(before, after) == {
        ("lumbar", "disc_height_loss", 1, 2, "higher"),
        ("lumbar", "disc_height_loss", 2, None, "now withheld"),
        ("cervical", "disc_height_loss", None, 0, "now published"),
        ("thoracic", "disc_height_loss", 3, 1, "lower"),
    }


def test_a_film_that_is_refused_now_is_one_change_and_not_one_of_each_vertebra() -> None:
    before, after = sight(body("L4", 100)), sight(refusal="NO_VERTEBRA_FOUND")
    assert told(before, after) == {("film", "reading", "read", "NO_VERTEBRA_FOUND", "now refused")}


def test_the_table_counts_what_stayed_too() -> None:
    comparison = Comparison()
    one = Pair("1", "1.1", sight(body("L4", 100), name="a"), sight(body("L4", 101)))
    two = Pair("2", "2.1", sight(body("L4", 100), name="b"), sight(body("L5", 101)))
    assert len(list(changes([one, two], comparison))) == 1
    assert comparison.others == {"a", "b"}
    assert comparison.table() == [
        {"region": "film", "what": "reading", "compared": 2, "renamed": None},
        {"region": "lumbar", "what": "level", "compared": 2, "renamed": 1},
    ]
