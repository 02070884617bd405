"""What ``campaign start`` was asked for, checked: nothing is begun that cannot work."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spinepacs.errors import BadSettings

if TYPE_CHECKING:
    from spinepacs.domain.campaign import Kind, NewCampaign
    from spinepacs.settings.settings import Settings

_LONGEST_NAME = 40


def asked_for(settings: Settings, name: str, options: dict[str, Any]) -> NewCampaign:
    """Check what was asked for; raises UsageError, BadModel or BadSettings."""
    from pydantic import TypeAdapter, ValidationError

    from spinepacs.check.archives import open_model
    from spinepacs.domain.campaign import NewCampaign, Query
    from spinepacs.settings.types import Hours

    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{_LONGEST_NAME - 1}}}", name):
        raise click.UsageError("a name has letters, digits, '_', '-' and '.', 40 at most: it stands in logs")
    try:
        hours = tuple(TypeAdapter(Hours).validate_python(each) for each in options["hours"])
    except ValidationError:
        raise click.UsageError('give --hours like "22:00-06:00"') from None
    kind, place = _source(settings, options)
    studies, accessions = _named(options["table"]) if options["table"] else ((), ())
    days = _days(kind, options, bool(studies or accessions))
    modalities = options["modalities"] or settings.selection.modalities
    query = Query(*days, _upper(modalities), _upper(options["body_parts"]))
    folder = (options["model"] or settings.model.folder).resolve()
    policy = (options["policy"] or settings.model.policy).resolve()
    versions = open_model(folder, policy, settings).versions
    if options["delivers"] and not settings.destinations:
        raise click.UsageError("--deliver needs destinations in the settings")
    return NewCampaign(
        name, kind, place, query, str(folder), str(policy), versions,
        move_to=options["move_to"] or "",
        credentials=str(options["credentials"].resolve()) if options["credentials"] else "",
        studies=studies, accessions=accessions, delivers=options["delivers"], per_hour=options["per_hour"], hours=hours,
    )  # fmt: skip


def _upper(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip().upper() for each in values))


def _source(settings: Settings, options: dict[str, Any]) -> tuple[Kind, str]:
    from spinepacs.domain.campaign import Kind
    from spinepacs.exchange.archive import parse_peer
    from spinepacs.exchange.web import check_secret, check_url

    given = [name for name in ("folder", "dicomweb", "ae", "again") if options[name]]
    if len(given) != 1:
        raise click.UsageError("give one of --from, --dicomweb, --ae and --again")
    if options["credentials"] and not options["dicomweb"]:
        raise click.UsageError("--credentials are for --dicomweb")
    if options["move_to"] and not options["ae"]:
        raise click.UsageError("--move-to is for --ae")
    if options["dicomweb"]:
        url = check_url(options["dicomweb"])
        if options["credentials"]:
            check_secret(url)
        return Kind.DICOMWEB, url
    if options["ae"]:
        parse_peer(options["ae"])
        if not settings.listener.enabled:
            raise click.UsageError("--ae needs the listener: films come to it")
        return Kind.DICOM, options["ae"]
    if options["again"]:
        return Kind.AGAIN, ""
    folder = options["folder"].resolve()
    if not folder.is_dir():
        raise click.UsageError(f"{folder} is no folder")
    return Kind.FOLDER, str(folder)


def _days(kind: Kind, options: dict[str, Any], is_named: bool) -> tuple[date | None, date | None]:
    since, until = (options[name].date() if options[name] else None for name in ("since", "until"))
    if kind in ("dicomweb", "dicom"):
        if is_named and (since or until):
            raise click.UsageError("an archive is asked by date or by --csv, not both")
        if not is_named and since is None:
            raise click.UsageError("an archive is asked day by day, or by --csv: give --since, and --until")
    if since and until is None and not is_named:
        until = datetime.now(UTC).date()
    if since and until and until < since:
        raise click.UsageError("--until is before --since")
    return since, until


_STUDY_COLUMNS = ("studyinstanceuid", "study_uid", "studyuid", "study")
_ACCESSION_COLUMNS = ("accessionnumber", "accession_number", "accession")


def _named(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Study UIDs, or accession numbers, of a CSV file; raises BadSettings, which quotes none of them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BadSettings(f"{path}: cannot be read as CSV in UTF-8 ({type(error).__name__})") from None
    head = [re.sub(r"[\s()]+", "", cell).lower() for cell in rows[0]] if rows else []
    for columns, is_study in ((_STUDY_COLUMNS, True), (_ACCESSION_COLUMNS, False)):
        at = next((head.index(name) for name in columns if name in head), None)
        if at is None:
            continue
        values = tuple(dict.fromkeys(cell for row in rows[1:] if len(row) > at and (cell := row[at].strip())))
        if not values:
            raise BadSettings(f"{path}: the column {rows[0][at]!r} is empty")
        wrong = (
            r"[^0-9.]" if is_study else r"[\\*?\x00-\x1f]"
        )  # the latter would match others, too (PS3.4 C.2.2.2.4)
        for number, value in enumerate(values, start=1):
            if re.search(wrong, value) or len(value) > 64:
                raise BadSettings(f"{path}: value {number} of the column {rows[0][at]!r} is none")
        return (values, ()) if is_study else ((), values)
    raise BadSettings(f"{path}: give a head line with a column StudyInstanceUID or AccessionNumber")
