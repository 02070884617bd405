"""One study: its films with all that was found on them, what happened to it, and the patient's other studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from spinepacs.domain.corrections import REJECTED
from spinepacs.domain.findings import Refusal
from spinepacs.domain.refusals import REFUSALS
from spinepacs.errors import BadInput
from spinepacs.language import _
from spinepacs.show.sheet import cells
from spinepacs.store import queries, story
from spinepacs.web import review
from spinepacs.web.drawing import LAYERS, drawn
from spinepacs.web.plots import HEIGHT, WIDTH, plots
from spinepacs.web.site import IDENTITY, Visit
from spinepacs.web.tables import basis, tables
from spinepacs.web.wording import reason

Row = dict[str, Any]


def show(visit: Visit) -> Response:
    """The page of one study; that it was looked at is in the audit trail."""
    study_uid, ledger = str(visit.request.path_params["study_uid"]), visit.site.ledger
    summary = story.summary(ledger, study_uid)
    if summary is None:
        raise HTTPException(404, _("there is no such study"))
    visit.note("viewed", study_uid)
    films = sorted(queries.find_films(ledger, study=study_uid), key=lambda film: int(film["reading_id"]))
    patient = str(summary["patient_id"])
    others = queries.find_studies(ledger, limit=50, patient=patient) if patient else []
    if not visit.shows_identity:
        summary = {name: "" if name in IDENTITY else value for name, value in summary.items()}
    return visit.page(
        "study.html",
        study=summary,
        films=[_film(visit, number, film) for number, film in enumerate(films, start=1)],
        images=story.images(ledger, study_uid),
        moments=[_told(visit, moment) for moment in story.timeline(ledger, study_uid)],
        others=[row for row in others if row["study_uid"] != study_uid],
        plots=plots(story.course(ledger, patient)),
        plot_size=(WIDTH, HEIGHT),
        links=_links(visit, summary),
        layers=LAYERS,
    )


def picture(visit: Visit) -> Response:
    """The windowed film, as a JPEG."""
    study_uid, sop_uid = (str(visit.request.path_params[name]) for name in ("study_uid", "sop_uid"))
    sha256 = story.film_file(visit.site.ledger, sop_uid)
    if sha256 is None or story.study_of(visit.site.ledger, sop_uid) != study_uid:
        raise HTTPException(404, _("its file is not in the spool any more"))
    try:
        return Response(visit.site.darkroom.picture(sha256), media_type="image/jpeg")
    except BadInput as error:
        raise HTTPException(422, reason(f"{error.reason_code}: {error}")) from None


def page(visit: Visit) -> Response:
    """The film's printable page, as a file: its styles are its own, and so it is none of our pages."""
    study_uid, sop_uid = (str(visit.request.path_params[name]) for name in ("study_uid", "sop_uid"))
    if story.study_of(visit.site.ledger, sop_uid) != study_uid:
        raise HTTPException(404, _("there is no such film"))
    visit.note("exported", study_uid, "a film as a page")
    made = visit.site.reviewing.page(sop_uid, with_identity=visit.shows_identity)
    if isinstance(made, Refusal):
        raise HTTPException(422, reason(f"{made.code}: {made.reason}"))
    headers = {"Content-Disposition": f'attachment; filename="film-{sop_uid[-12:]}.html"'}
    return HTMLResponse(made, headers=headers)


def _film(visit: Visit, number: int, film: Row) -> Row:
    """All that is shown of one film."""
    is_refused, is_rejected = bool(film["refusal_code"]), film["refusal_code"] == REJECTED
    if is_rejected and not visit.shows_identity:
        film = film | {"refusal_reason": REFUSALS.english[REJECTED]}  # whose free words may name somebody
    has_file = story.film_file(visit.site.ledger, film["sop_uid"]) is not None
    has_size = bool(film["rows_px"] and film["columns_px"])
    return {
        "number": number,
        "row": film,
        "drawing": drawn(film, story.shapes(visit.site.ledger, film["reading_id"])) if has_size else None,
        "has_file": has_file,
        "tables": [] if is_refused else tables(film),
        "basis": "" if is_refused else basis(film),
        "conclusions": [cells.concluded(one, film, whole=True) for one in film["conclusions"]],
        "footnotes": list(cells.footnotes(film["findings"], film["measures"])),
        "review": review.panel(
            visit,
            review.Film(film["study_uid"], film["sop_uid"]),
            film["reading_id"],
            is_correctable=has_file and (is_rejected or not is_refused),
            is_whole=True,
        ),
    }


def _told(visit: Visit, moment: story.Moment) -> story.Moment:
    """A moment without what a person has said of a film in free words, where nobody may be named."""
    before, rejected, _ = moment.detail.partition(f": {REJECTED}: ")
    if not rejected or visit.shows_identity:
        return moment
    return moment._replace(detail=f"{before}: {REJECTED}")


def _links(visit: Visit, study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Links to viewers, with what the settings ask for filled in; none that would name a patient who is not shown."""
    made = []
    for name, template in visit.site.settings.web.viewers.items():
        if not visit.shows_identity and ("{patient_id}" in template or "{accession_number}" in template):
            continue
        link = template
        for placeholder in ("study_uid", "accession_number", "patient_id"):
            link = link.replace(f"{{{placeholder}}}", quote(str(study[placeholder]), safe=""))
        made.append((name, link))
    return made
