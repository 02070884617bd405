"""Commands by which a person corrects readings: ``correct``, ``corrections``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from spinepacs.cli.decisions import changing
from spinepacs.cli.options import FOLDER, config_option, format_option, load, progress

if TYPE_CHECKING:
    from spinepacs.domain.corrections import Operation
    from spinepacs.review.child import Preview
    from spinepacs.store.corrections import Forestalled

_LISTED = (
    "made_at", "sop_uid", "state", "author", "organisation", "what", "reason", "base_reading_id", "reading_id",
    "refusal_code", "refusal_reason",
)  # fmt: skip


@click.command()
@config_option
@click.argument("sop_uid")
@click.option("--shift", type=int, metavar="N", help="All names by so many levels; 1: L4 becomes L5.")
@click.option("--name", metavar="L5=L4", help="One vertebra gets another name, the rest follow.")
@click.option("--remove", metavar="L5[+close]", help="One that is none; +close: those below move a level up.")
@click.option(
    "--insert", metavar="L3=X,Y,X,Y,X,Y…", help="One that was missed: its corners or outline, in px."
)
@click.option("--move", metavar="L4.upper_left=X,Y", multiple=True, help="A point of an endplate, in px.")
@click.option(
    "--grade",
    metavar="SIGN@L4/L5=2",
    multiple=True,
    help="A grade; at one side of a vertebra SIGN@L4.upper=2.",
)
@click.option("--accept", is_flag=True, help="The reading is right as it is published.")
@click.option("--reject", metavar="REASON", help="Nothing of the reading is to be used.")
@click.option("--author", required=True, help="Who corrects it, for instance Doe^Jane.")
@click.option("--organisation", default="", help="For whom.")
@click.option("--reason", default="", help="Why; it stays in the database.")
@click.option("--preview", "only_preview", is_flag=True, help="Say what would change, and change nothing.")
def correct(
    config: Path,
    sop_uid: str,
    author: str,
    organisation: str,
    reason: str,
    only_preview: bool,
    **options: Any,
) -> None:
    """Put the reading of the film SOP_UID right: all that follows is made anew and replaces the earlier results.

    Several changes are made in this order: remove, shift, name, insert, move, grade. See docs/corrections.md.

    \b
    Exit status: 0 asked for (or shown)
                 1 it cannot be, or somebody else was first
                 2 bad usage
    """
    from spinepacs.domain.corrections import Draft
    from spinepacs.domain.findings import Refusal
    from spinepacs.review.preview import Reviewer
    from spinepacs.store.corrections import Forestalled

    settings = load(config)
    draft = Draft(_operations(options, reason), author, organisation, reason)
    with Reviewer(settings) as reviewer:
        preview = reviewer.preview(sop_uid, draft)
    if isinstance(preview, Refusal):
        _give_up(f"{preview.code}: {preview.reason}")
    click.echo(_told(preview))
    if only_preview:
        return
    with changing(settings, "correct", f"{sop_uid} for {author}") as ledger:
        asked = ledger.corrections.ask(sop_uid, preview.reading_id, draft)
    if isinstance(asked, Refusal):
        _give_up(f"{asked.code}: {asked.reason}")
    if isinstance(asked, Forestalled):
        _give_up(_who_was_first(asked))
    click.echo(f"asked for; `spinepacs corrections list` tells when it is done (correction {asked.uid})")


def _give_up(why: str) -> NoReturn:
    click.echo(f"spinepacs: {why}", err=True)
    sys.exit(1)


def _who_was_first(other: Forestalled) -> str:
    who = other.author or "the model"
    if other.is_pending:
        return f"{who} has asked for a correction of this film at {other.at:%Y-%m-%d %H:%M} UTC: wait until it is done"
    return f"{who} has read this film meanwhile, at {other.at:%Y-%m-%d %H:%M} UTC: look at it again"


def _told(preview: Preview) -> str:
    lines = [f"{one.what:<11}{one.place}: {one.before} → {one.after}" for one in preview.changes]
    whose = f"{preview.author}'s" if preview.author else "the model's"
    head = f"current reading: {preview.reading_id}, {whose}; {len(lines)} changes"
    return "\n".join([head, *lines])


def _operations(options: dict[str, Any], reason: str) -> tuple[Operation, ...]:
    """The options as operations; raises click.UsageError for what is none."""
    from pydantic import ValidationError

    from spinepacs.domain.corrections import OPERATIONS

    made: list[dict[str, Any]] = []
    try:
        if options["remove"]:
            vertebra, _, how = options["remove"].partition("+")
            if how not in ("", "close"):
                raise ValueError
            made.append({"kind": "remove", "vertebra": vertebra, "close": how == "close"})
        if options["shift"] is not None:
            made.append({"kind": "shift", "by": options["shift"]})
        if options["name"]:
            vertebra, level = options["name"].split("=")
            made.append({"kind": "name", "vertebra": vertebra, "level": level})
        if options["insert"]:
            level, _, points = options["insert"].partition("=")
            made.append({"kind": "insert", "level": level, "outline": _points(points)})
        made += map(_move, options["move"])
        made += [_grade(text, reason) for text in options["grade"]]
        if options["accept"]:
            made.append({"kind": "accept"})
        if options["reject"] is not None:
            made.append({"kind": "reject", "reason": options["reject"]})
        if not made:
            raise click.UsageError("say what is to be changed, or --accept or --reject it")
        return OPERATIONS.validate_python(made)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        raise click.UsageError(f"{where}: {first['msg']}") from None
    except ValueError:
        raise click.UsageError("a change is not written as `spinepacs correct --help` has it") from None


def _move(text: str) -> dict[str, Any]:
    which, _, to = text.partition("=")
    vertebra, _, point = which.partition(".")
    (moved,) = _points(to)
    return {"kind": "move", "vertebra": vertebra, "point": point, "to": moved}


def _grade(text: str, reason: str) -> dict[str, Any]:
    where, grade = text.split("=")
    sign, _, place = where.partition("@")
    place, _, side = place.partition(".")
    return {
        "kind": "grade", "sign": sign, "place": place, "side": side or None, "grade": int(grade), "reason": reason,
    }  # fmt: skip


def _points(text: str) -> list[tuple[float, float]]:
    numbers = [float(word) for word in text.split(",")]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@click.group()
def corrections() -> None:
    """What persons have corrected."""


@corrections.command("list")
@config_option
@click.option("--film", "sop_uid", help="SOP Instance UID: of this film only.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@format_option
def list_(config: Path, sop_uid: str | None, limit: int, style: str) -> None:
    """List corrections, newest first: who asked for what, and what has become of it. No patient is named."""
    from spinepacs.show.listing import as_text
    from spinepacs.store.ledger import Ledger

    with Ledger.open_to_read(load(config).storage.database_url) as ledger:
        rows = ledger.corrections.history(sop_uid, limit)
    for row in rows:
        row["what"] = " ".join(dict.fromkeys(one["kind"] for one in row["operations"]))
    click.echo(as_text(rows, style, _LISTED))


@corrections.command()
@config_option
@click.option(
    "--out", required=True, type=FOLDER, help="Folder of the data set; it must be empty, or not there."
)
def export(config: Path, out: Path) -> None:
    """Write the films that persons have corrected or accepted, with their outlines, for `train` and `evaluate`.

    The films are PNG in native pixels, without header; text that is burnt into them stays. See docs/corrections.md.
    """
    from spinepacs.review.export import export as write
    from spinepacs.store.ledger import Ledger

    settings = load(config)
    written = 0
    with Ledger.open_to_read(settings.storage.database_url) as ledger:
        total = len(ledger.corrections.corrected_films())
        with progress("films", total) as step:
            for refusal in write(settings, ledger, out):
                step()
                if refusal:
                    click.echo(f"one left out: {refusal.code}: {refusal.reason}", err=True)
                written += refusal is None
    click.echo(f"{written} films in {out}")
