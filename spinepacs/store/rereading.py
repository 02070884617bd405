"""Films that are read again, or selected anew, after a rule, a policy or the model has changed.

What was found before stays: another model or policy makes a reading of its own, and objects with UIDs of their own. A
film that was refused may be read once more by the same ones: a newer version of spinepacs may be able to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, not_, or_, select, update

from spinepacs.domain.campaign import Campaign, WantedFilm
from spinepacs.domain.findings import Versions
from spinepacs.domain.study import NO_FILM, Source, StudyState
from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.records import ArrivalState, EventKind
from spinepacs.store.rows import answered, under
from spinepacs.store.states import ANEW, SETTLED, lock, move
from spinepacs.store.tables import arrivals, readings, studies
from spinepacs.store.turns import announce, due

BATCH = 500
"""Films in one transaction: senders wait for it on SQLite."""

_TURNED_DOWN = (ArrivalState.REFUSED, ArrivalState.UNREADABLE)


@dataclass(frozen=True)
class Choice:
    """Which films are meant; what is None, or False, asks for nothing, and all that is asked for must hold.

    Parameters
    ----------
    study
        Study Instance UID.
    refused
        Reason code, whether of the selection, of an unreadable header or of a film's newest reading.
    is_older
        Read, and never with the model and policy of today.
    date_from, date_to
        Study date, both included; a film without date is left out.
    """

    study: str | None = None
    refused: str | None = None
    is_older: bool = False
    date_from: date | None = None
    date_to: date | None = None

    def __str__(self) -> str:
        """As the command was given: for the audit trail."""
        stated = {"--refused": self.refused, "--from": self.date_from, "--to": self.date_to}
        options = [f"{name} {value}" for name, value in stated.items() if value is not None]
        return " ".join([*filter(None, [self.study]), *["--model-older"] * self.is_older, *options])

    def films(self, today: Versions) -> ColumnElement[bool]:
        """The choice as a condition on ``arrivals``; ``today``: model and policy."""
        asked: list[ColumnElement[bool]] = [_may_be_read(self.refused)]
        if self.study is not None:
            asked.append(arrivals.c.study_uid == self.study)
        if self.refused is not None:
            asked.append(_is_refused(self.refused))
        if self.is_older:
            asked += [_has_reading(), not_(_has_reading(under(today)))]
        if self.date_from is not None:
            asked.append(arrivals.c.study_date >= self.date_from)
        if self.date_to is not None:
            asked.append(arrivals.c.study_date <= self.date_to)
        return and_(*asked)


@dataclass(frozen=True)
class Reread:
    """What becomes of the films that were chosen: how many of each.

    Parameters
    ----------
    again
        Read again, with today's model and policy.
    anew
        Their headers are held against today's rules; those that pass are read.
    known
        Read with today's model and policy already, and not refused: nothing is done, since the results would have the
        UIDs of those that the archive has.
    waiting
        On their way already.
    gone
        Their files were deleted, by retention or a person: they must be sent again.
    """

    again: int = 0
    anew: int = 0
    known: int = 0
    waiting: int = 0
    gone: int = 0

    def __add__(self, other: Reread) -> Reread:
        return Reread(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Rereading:
    """The part of the ledger that has films read again."""

    database: Database

    def ask(self, choice: Choice, today: Versions) -> Reread:
        """Put the films that are chosen back into the queue; in batches, so that receiving goes on meanwhile."""
        total, after = Reread(), 0
        while True:
            done, after = self.database.write(_ask, choice, today, after)
            total += done
            if not after:
                return total

    def studies(self, campaign: Campaign, after: int) -> tuple[list[str], int]:
        """One batch of studies with films that a campaign means and its versions have not read; the key to go on from.

        The key is 0 where there is no more.
        """
        query = campaign.query
        choice = Choice(date_from=query.date_from, date_to=query.date_to)
        question = (
            select(arrivals.c.arrival_id, arrivals.c.study_uid)
            .where(
                arrivals.c.arrival_id > after,
                choice.films(campaign.versions),
                *_here(campaign),
                not_(answered(campaign.versions, or_bare=True)),
            )
            .order_by(arrivals.c.arrival_id)
            .limit(BATCH)
        )
        with self.database.read() as connection:
            rows = connection.execute(question).all()
        found = list(dict.fromkeys(row.study_uid for row in rows))
        return found, rows[-1].arrival_id if len(rows) == BATCH else 0

    def studies_of(self, accession: str) -> list[str]:
        """Studies of an accession number."""
        question = select(arrivals.c.study_uid).where(
            arrivals.c.accession_number == accession, arrivals.c.study_uid.is_not(None)
        )
        with self.database.read() as connection:
            return sorted(set(connection.execute(question).scalars()))

    def films(self, campaign: Campaign, study_uid: str) -> list[WantedFilm]:
        """Films of a study that a campaign means."""
        query = campaign.query
        choice = Choice(study=study_uid, date_from=query.date_from, date_to=query.date_to)
        question = select(arrivals.c.sop_uid).where(choice.films(campaign.versions), *_here(campaign))
        with self.database.read() as connection:
            return [WantedFilm(uid, study_uid) for uid in connection.execute(question).scalars()]


def _here(campaign: Campaign) -> list[ColumnElement[bool]]:
    """Selected films of the modality and body part that a campaign means."""
    query, conditions = campaign.query, [arrivals.c.state == ArrivalState.SELECTED]
    if query.modalities:
        conditions.append(arrivals.c.modality.in_(query.modalities))
    if query.body_parts:
        conditions.append(arrivals.c.body_part.in_(("", *query.body_parts)))
    return conditions


def _may_be_read(named: str | None) -> ColumnElement[bool]:
    """Films, and what was turned down; not what can never be read, unless its reason is named.

    An unreadable file whose place another one has taken stays as it is (see Ledger.mark_unreadable).
    """
    other = arrivals.alias()
    taken = exists().where(
        other.c.sop_uid == arrivals.c.sop_uid,
        other.c.arrival_id != arrivals.c.arrival_id,
        other.c.state.not_in((ArrivalState.CONFLICT, ArrivalState.UNREADABLE)),
    )
    return or_(
        arrivals.c.state == ArrivalState.SELECTED,
        and_(arrivals.c.state == ArrivalState.REFUSED, arrivals.c.reason_code.not_in(NO_FILM - {named})),
        and_(arrivals.c.state == ArrivalState.UNREADABLE, not_(taken)),
    )


def _is_refused(code: str) -> ColumnElement[bool]:
    newer = readings.alias()
    replaced = exists().where(
        newer.c.arrival_id == readings.c.arrival_id, newer.c.reading_id > readings.c.reading_id
    )
    return or_(
        and_(arrivals.c.state.in_(_TURNED_DOWN), arrivals.c.reason_code == code),
        and_(
            arrivals.c.state == ArrivalState.SELECTED,
            _has_reading(readings.c.refusal_code == code, not_(replaced)),
        ),
    )


def _has_reading(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(readings.c.arrival_id == arrivals.c.arrival_id, *conditions)


def _ask(connection: Connection, choice: Choice, today: Versions, after: int) -> tuple[Reread, int]:
    """One batch, of films whose key is greater than ``after``; the last key of it, 0 where there is no more."""
    chosen = (
        select(
            arrivals.c.arrival_id, arrivals.c.state, arrivals.c.study_uid, arrivals.c.sop_uid,
            arrivals.c.file_deleted_at.is_not(None).label("is_gone"), studies.c.state.label("study_state"),
            _has_reading(under(today), readings.c.refusal_code == "").label("is_known"),
        )
        .outerjoin(studies, studies.c.study_uid == arrivals.c.study_uid)
        # What only a campaign has brought is read again by another one: it is not the day's work.
        .where(arrivals.c.arrival_id > after, arrivals.c.source != Source.CAMPAIGN, choice.films(today))
        .order_by(arrivals.c.arrival_id)
        .limit(BATCH)
    )  # fmt: skip
    rows = connection.execute(chosen).all()
    by_fate: dict[str, list[Row[Any]]] = {name: [] for name in vars(Reread())}
    for row in rows:
        by_fate[_fate(row)].append(row)
    _select_anew(connection, by_fate["anew"])
    _read_again(connection, by_fate["again"])
    counts = Reread(**{name: len(found) for name, found in by_fate.items()})
    return counts, rows[-1].arrival_id if len(rows) == BATCH else 0


def _fate(row: Row[Any]) -> str:
    """What becomes of a film: a field of :class:`Reread`."""
    if row.is_gone:
        return "gone"
    if row.state in _TURNED_DOWN:
        return "anew"
    if row.is_known:
        return "known"
    return "again" if row.study_state in SETTLED else "waiting"


def _select_anew(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Have headers read once more; a file keeps its study meanwhile, which tells it from what has just come."""
    keys = [row.arrival_id for row in rows]
    connection.execute(
        update(arrivals)
        .where(arrivals.c.arrival_id.in_(keys), arrivals.c.state.in_(_TURNED_DOWN))
        .values(ANEW)
    )
    for row in rows:
        events.add(connection, EventKind.REREAD, row.study_uid or "", row.sop_uid, "to be selected anew")


def _read_again(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Let refusals count no more that these films have met with so far, and open their studies."""
    newest = select(func.max(readings.c.reading_id)).where(readings.c.arrival_id == arrivals.c.arrival_id)
    keys = [row.arrival_id for row in rows]
    connection.execute(
        update(arrivals).where(arrivals.c.arrival_id.in_(keys)).values(reread_after=newest.scalar_subquery())
    )
    # In one order, so that two of us cannot lock each other out.
    for study_uid in sorted({row.study_uid for row in rows}):
        if lock(connection, study_uid) in SETTLED:
            # Written first: its turn depends on it.
            connection.execute(update(studies).where(studies.c.study_uid == study_uid).values(rereading=True))
            opened = {"attempts": 0, "reason_code": "", "reason": "", **due(datetime.now(UTC))}
            move(connection, study_uid, StudyState.READY, **opened, campaign_id=None)
            announce(connection, study_uid)
            events.add(connection, EventKind.REREAD, study_uid)
