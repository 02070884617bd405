"""The review of a film: a draft that grows by one change at a time and is tried at once, published, and followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response

from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import Accept, Draft, Name, Reject, Shift
from spinepacs.domain.findings import Refusal
from spinepacs.language import N_, _
from spinepacs.review.difference import Change, changes
from spinepacs.show.tables import reading_to_json
from spinepacs.store import story
from spinepacs.store.accounts import AccountRole
from spinepacs.store.corrections import Forestalled
from spinepacs.web import signature
from spinepacs.web.drafting import Operations, as_text, changed, operations_of
from spinepacs.web.history import entries, is_said, standing_of
from spinepacs.web.proposal import gradable, proposal, script_words
from spinepacs.web.site import Visit

Row = dict[str, Any]
_TRIAL = "preview"
"""Author of what is only tried: the person's own name may not be written in the film's letters, as is told later."""
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Film:
    """Whose review it is."""

    study_uid: str
    sop_uid: str

    @property
    def path(self) -> str:
        """Of its pages."""
        study, film = (quote(uid, safe="") for uid in (self.study_uid, self.sop_uid))
        return f"/studies/{study}/films/{film}/review"


@dataclass(frozen=True)
class _Shown:
    """What a draft would make of a film: of an empty one, what there is to begin with."""

    reading_id: int
    changes: tuple[Change, ...]
    reading: Mapping[str, Any]


def panel(visit: Visit, film: Film, base: int, *, is_correctable: bool, **more: Any) -> Row:
    """What the section of a film is filled in with.

    Parameters
    ----------
    base
        The reading that is shown: what is asked for is a change of it.
    is_correctable
        Whether there is a file, and something that was found on it.
    more
        ``desk``, ``other`` or ``refusal``, where there is one; ``is_whole``: the film is shown anew with it.
    """
    rows = visit.site.ledger.corrections.history(film.sop_uid)
    standing = standing_of(visit, film.study_uid, rows[0]) if rows else None
    is_pending = bool(rows) and rows[0]["state"] == "pending"
    return {
        "film": film,
        "base": base,
        "may_correct": is_correctable and not is_pending and _is_reader(visit),
        "standing": standing if standing and (standing["is_open"] or is_said(rows[0])) else None,
        "entries": entries(visit, film.sop_uid, rows),
        "is_whole": False,
        "desk": None,
        "other": None,
        "refusal": None,
        **more,
    }


def show(visit: Visit) -> Response:
    """The section of a film, as it is now."""
    return _section(visit, _film(visit))


def state(visit: Visit) -> Response:
    """What has become of the newest correction; it is asked for again until all is over."""
    film = _film(visit)
    rows = visit.site.ledger.corrections.history(film.sop_uid, 1)
    if not rows:
        raise HTTPException(404, _("nobody has corrected this film"))
    return visit.page(
        "review_state.html", film=film, standing=standing_of(visit, film.study_uid, rows[0]), is_whole=False
    )


def difference(visit: Visit) -> Response:
    """What one correction has changed."""
    film, corrections = _film(visit), visit.site.ledger.corrections
    number = int(visit.request.path_params["correction_id"])
    row = next((one for one in corrections.history(film.sop_uid) if one["correction_id"] == number), None)
    if row is None or row["reading_id"] is None:
        raise HTTPException(404, _("there is no such reading"))
    found = changes(corrections.reading(row["base_reading_id"]), corrections.reading(row["reading_id"]))
    if not visit.shows_identity:  # why a film was rejected is told in free words
        found = tuple(one for one in found if one.what != "reading")
    return visit.page("review_changes.html", groups=list(_grouped(found)))


def begin(visit: Visit) -> Response:
    """A draft in which nothing is changed yet."""
    film = _film(visit)
    if other := _pending(visit, film):
        return _section(visit, film, other=other)
    shown = _tried(visit, film, ())
    if isinstance(shown, Refusal):
        return _section(visit, film, refusal=shown)
    return _at_desk(visit, film, (), shown)


def draft(visit: Visit) -> Response:
    """The draft with one change more or less, and what would come of it."""
    film, before, base = _film(visit), operations_of(visit.form), _base(visit)
    if other := _pending(visit, film):
        return _section(visit, film, other=other)
    after = changed(before, visit.form)
    if isinstance(after, Refusal):
        return _refused(visit, film, before, after)
    shown = _tried(visit, film, after)
    if isinstance(shown, Refusal):
        return _refused(visit, film, before, shown)
    if shown.reading_id != base:
        return _section(visit, film, other=_first(visit, film, shown.reading_id))
    return _at_desk(visit, film, after, shown)


def publish(visit: Visit) -> Response:
    """Ask for what the draft says; who asks is in the audit trail, and signs as the form has it."""
    film, operations, base = _film(visit), operations_of(visit.form), _base(visit)
    signed, reason = signature.of_form(visit), visit.form.get("reason", "").strip()
    if len(reason) > _LONGEST_REASON:
        raise HTTPException(400, _("say it in {number} letters", number=_LONGEST_REASON))
    visit.note("command", film.study_uid, f"correct {film.sop_uid}")
    asked_for = Draft(operations, signed.author, signed.organisation, reason)
    asked = visit.site.ledger.corrections.ask(film.sop_uid, base, asked_for)
    if isinstance(asked, Refusal):
        return _refused(visit, film, operations, asked)
    if isinstance(asked, Forestalled):
        return _section(visit, film, other=asked)
    visit.site.queue.forget()
    answer = _section(visit, film)
    signature.remember(visit, answer, signed)
    return answer


def _film(visit: Visit) -> Film:
    """Whose review is asked for; raises HTTPException 404 where there is no such film in the study."""
    study_uid, sop_uid = (str(visit.request.path_params[name]) for name in ("study_uid", "sop_uid"))
    if story.study_of(visit.site.ledger, sop_uid) != study_uid:
        raise HTTPException(404, _("there is no such film"))
    return Film(study_uid, sop_uid)


def _base(visit: Visit) -> int:
    text = visit.form.get("base", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HTTPException(400, _("the form does not say which reading it is about"))
    return int(text)


def _is_reader(visit: Visit) -> bool:
    return visit.person.role.includes(AccountRole.READER)


def _pending(visit: Visit, film: Film) -> Forestalled | None:
    """Whose correction of the film is on its way."""
    rows = visit.site.ledger.corrections.history(film.sop_uid, 1)
    waits = [row for row in rows if row["state"] == "pending"]
    return next((Forestalled(row["author"], row["made_at"], True) for row in waits), None)


def _first(visit: Visit, film: Film, reading_id: int) -> Forestalled:
    """Who has made the reading that is current by now."""
    rows = story.readings_of(visit.site.ledger, film.sop_uid)
    row = next(row for row in rows if row["reading_id"] == reading_id)
    return Forestalled(row["author"], row["read_at"], False)


def _tried(visit: Visit, film: Film, operations: Operations) -> _Shown | Refusal:
    if operations:
        made = visit.site.reviewing.preview(film.sop_uid, Draft(operations, _TRIAL))
        return made if isinstance(made, Refusal) else _Shown(made.reading_id, made.changes, made.reading)
    current = visit.site.ledger.corrections.current(film.sop_uid)
    if isinstance(current, Refusal):
        return current
    return _Shown(current.reading_id, (), reading_to_json("", current.base))


def _refused(visit: Visit, film: Film, operations: Operations, refusal: Refusal) -> Response:
    """The draft as it was, and why what was asked for cannot be."""
    shown = _tried(visit, film, operations)
    if isinstance(shown, Refusal):
        return _section(visit, film, refusal=refusal)
    return _at_desk(visit, film, operations, shown, refusal)


def _at_desk(
    visit: Visit, film: Film, operations: Operations, shown: _Shown, refusal: Refusal | None = None
) -> Response:
    new = {one.after for one in shown.changes if one.what == "name"}
    return _section(visit, film, refusal=refusal, desk={
        "operations": as_text(operations),
        "steps": operations,
        "groups": list(_grouped(shown.changes)),
        "words": script_words(),
        "proposal": proposal(shown.reading, new),
        "present": [vertebra["level"] for vertebra in shown.reading["vertebrae"]],
        "levels": [level.name for level in Level],
        "gradable": gradable(shown.reading),
        "is_alone": any(isinstance(one, Accept | Reject) for one in operations),
        "is_open": not all(isinstance(one, Shift | Name | Accept | Reject) for one in operations) or not operations,
        "signature": signature.remembered(visit),
        "reason": visit.form.get("reason", ""),
        "base": shown.reading_id,
    })  # fmt: skip


def _section(visit: Visit, film: Film, **more: Any) -> Response:
    current = visit.site.ledger.corrections.current(film.sop_uid)
    if isinstance(current, Refusal):
        values = panel(visit, film, 0, is_correctable=False, **more)
    else:
        is_correctable = current.base.spine is not None
        values = panel(visit, film, current.reading_id, is_correctable=is_correctable, **more)
    return visit.page("review.html", r=values)


def _grouped(found: tuple[Change, ...]) -> Iterator[tuple[str, str, list[Change]]]:
    """Changes by their kind, what matters most first, each with the caption of a table."""
    for what, caption in _CAPTIONS.items():
        if each := [one for one in found if one.what == what]:
            yield what, _(caption), each


_CAPTIONS = {
    "name": N_("Names"), "reading": N_("Film"), "conclusion": N_("Conclusions"), "grade": N_("Grades"),
    "measure": N_("Angles"), "disc": N_("Discs"),
}  # fmt: skip
