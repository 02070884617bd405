"""Studies: searched, listed page by page in columns of one's choice, and as CSV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from spinepacs.domain import words
from spinepacs.domain.study import StudyState
from spinepacs.show.listing import write_csv
from spinepacs.store import browsing
from spinepacs.store.browsing import Page, Search
from spinepacs.web import wording
from spinepacs.web.site import IDENTITY, Visit

Row = dict[str, Any]
_DEFAULT_COLUMNS = (
    "patient_id", "accession_number", "study_date", "body_part", "state", "images_read", "highest_grade",
    "highest_degree", "objects_failed", "last_arrival_at",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def show(visit: Visit) -> Response:
    """The page; without any question the newest studies."""
    query, search = visit.request.query_params, _search(visit)
    found: Page = browsing.find_page(visit.site.ledger, search, query.get("after", ""))
    if search.asked:
        visit.note("searched", detail=", ".join(search.asked))
    columns = [name for name in browsing.columns(visit.site.ledger) if _is_shown(visit, name)]
    chosen = [name for name in query.getlist("column") if name in columns]
    asked = [(name, value) for name, value in query.multi_items() if name != "after"]
    return visit.page(
        "studies.html",
        search=search,
        rows=found.rows,
        columns=columns,
        chosen=chosen or [name for name in _DEFAULT_COLUMNS if name in columns],
        next_page=urlencode([*asked, ("after", found.after)]) if found.after else "",
        is_first=not query.get("after"),
        csv=urlencode(asked),
        states=[(state.value, wording.STATES[state.value]) for state in StudyState],
        signs={sign.value: name for sign, name in words.SIGNS.items()},
        places=browsing.PLACES,
        models=browsing.models(visit.site.ledger),
        destinations=[destination.name for destination in visit.site.settings.destinations],
    )


def csv(visit: Visit) -> Response:
    """All rows of what is looked for, with every column, as they come out of the database."""
    search = _search(visit)
    pages = browsing.find_all(visit.site.ledger, search)
    first = next(pages)  # what is wrong with the question is told before anything is sent
    visit.note("exported", detail=f"studies as CSV, by {', '.join(search.asked) or 'nothing'}")
    columns = [name for name in browsing.columns(visit.site.ledger) if _is_shown(visit, name)]
    headers = {"Content-Disposition": 'attachment; filename="studies.csv"'}
    return StreamingResponse(
        _lines(columns, first, pages), media_type="text/csv; charset=utf-8", headers=headers
    )


def _lines(columns: list[str], first: list[Row], pages: Iterable[list[Row]]) -> Iterator[str]:
    yield _csv(columns, [])
    for page in chain((first,), pages):
        yield _rows(columns, page)


def _rows(columns: list[str], page: list[Row]) -> str:
    plain = [{name: _harmless(row[name]) for name in columns} for row in page]
    return _csv(columns, plain).partition("\n")[2]


def _csv(columns: list[str], rows: list[Row]) -> str:
    file = io.StringIO()
    write_csv(columns, [rows], file)
    return file.getvalue()


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe: headers of films may hold anything."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _is_shown(visit: Visit, column: str) -> bool:
    return visit.shows_identity or column not in IDENTITY


def _search(visit: Visit) -> Search:
    query = visit.request.query_params
    given = {name: query.get(name, "").strip() for name in Search.__dataclass_fields__}
    if not visit.shows_identity:  # who may not see whose films these are may not find it out by asking either
        given |= {"patient": "", "accession": ""}
    return Search(**given)
