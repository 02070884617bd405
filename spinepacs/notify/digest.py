"""One message about everything that is to be told now: its subject, its text, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from spinepacs.settings.notifications import Channel
from spinepacs.store.notices import Batch, Notice

SCHEMA = "spinepacs-notification/1"
_LISTED = 50
"""So many things are named in a text; all others are counted."""
_HEADS: Mapping[str, tuple[str, str]] = {
    "study-failed": ("study failed", "studies failed"),
    "destination-down": ("destination down", "destinations down"),
    "sign": ("film with a sign to look at", "films with signs to look at"),
    "machine-missing": ("machine missing", "machines missing"),
    "storage-down": ("storage away", "storages away"),
    "database-down": ("database away", "databases away"),
    "certificate-ends": ("certificate ends", "certificates end"),
    "test": ("test", "tests"),
}


@dataclass(frozen=True)
class Digest:
    """What is said: ``uid`` stays the same however often it is sent."""

    uid: str
    subject: str
    text: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """Whether somebody was told, and what there is to say of it."""

    is_told: bool
    message: str = ""


def digest(
    batch: Batch, channel: Channel, host: str, patients: Mapping[str, Mapping[str, str]] | None = None
) -> Digest:
    """Put a batch into words.

    Parameters
    ----------
    host
        Who says it.
    patients
        Whose the studies are, where the channel may be told.
    """
    counts = ", ".join(_counted(kind, number) for kind, number in sorted(batch.counts.items()))
    listed = [_item(notice, channel, (patients or {}).get(notice.study_uid)) for notice in batch.items]
    subject = f"spinepacs on {_plain(host)}: {counts}"
    total = sum(batch.counts.values())
    payload = {
        "schema": SCHEMA,
        "id": batch.batch,
        "channel": channel.name,
        "host": host,
        "since": _moment(batch.oldest_at),
        "counts": dict(batch.counts),
        "items": listed,
        "left_out": total - len(listed),
    }
    text = _text(subject, listed, total, channel)
    return Digest(batch.batch, subject, text, {**payload, "subject": subject, "text": text})


def _counted(kind: str, number: int) -> str:
    one, many = _HEADS[kind]
    return f"{number} {one if number == 1 else many}"


def _plain(host: str) -> str:
    """A name as a header may hold it."""
    return "".join(letter for letter in host if letter.isascii() and letter.isprintable())[:64]


def _item(notice: Notice, channel: Channel, patient: Mapping[str, str] | None) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": notice.notice_id,
        "kind": notice.kind,
        "at": _moment(notice.made_at),
        "text": _said(notice),
        "detail": dict(notice.detail),
    }
    if notice.ended_at is not None:
        item["ended_at"] = _moment(notice.ended_at)
    if notice.study_uid:
        item["study_uid"] = notice.study_uid
        if channel.console_url:
            item["link"] = f"{channel.console_url}/studies/{quote(notice.study_uid, safe='.')}"
    if patient:
        item["patient"] = dict(patient)
    return item


def _text(subject: str, items: Sequence[Mapping[str, Any]], total: int, channel: Channel) -> str:
    lines = [subject, ""]
    for item in items[:_LISTED]:
        whose = ", ".join(f"{name} {value}" for name, value in item.get("patient", {}).items() if value)
        study = item.get("link") or (f"study {item['study_uid']}" if "study_uid" in item else "")
        lines.append(f"{item['at']}  {item['text']}")
        lines += [f"    {part}" for part in (study, whose.replace("_", " ")) if part]
    if total > len(items[:_LISTED]):
        lines.append(f"… and {total - len(items[:_LISTED])} more: see the console.")
    if channel.console_url:
        lines += ["", f"{channel.console_url}/queue"]
    return "\n".join(lines) + "\n"


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _said(notice: Notice) -> str:
    """One sentence; details hold no patient's identity."""
    said = _OVER if notice.detail.get("over") else _SAID
    about: dict[str, Any] = {"subject": notice.subject, "message": "", **notice.detail}
    if notice.kind == "sign":
        about["found"] = "; ".join(_sign(sign) for sign in about["signs"])
    return said[notice.kind].format_map(about)


_SAID: Mapping[str, str] = {
    "study-failed": "a study failed: {reason_code}",
    "destination-down": "destination {subject} takes nothing: {objects} objects wait, the oldest since {oldest_at}; "
    "last answer: {message}",
    "sign": "{found}",
    "machine-missing": "machine {machine} is silent and was taken for dead; others have taken over",
    "storage-down": "storage of {subject}: {why}",
    "database-down": "the database does not answer {subject} since {since}: {why}",
    "certificate-ends": "{subject}: the certificate {file} {ends}",
    "test": "this is a test: notifications arrive",
}
_OVER: Mapping[str, str] = {
    "destination-down": "destination {subject} is no longer stuck; that it was is told since {began_at}",
    "storage-down": "storage of {subject} is well again; that it was not is told since {began_at}",
    "certificate-ends": "{subject}: the certificate {file} was renewed",
}


def _sign(sign: Mapping[str, Any]) -> str:
    side = f" ({sign['side'].replace('_', ' ')})" if sign["side"] else ""
    return f"{sign['sign'].replace('_', ' ')} grade {sign['grade']} at {sign['place']}{side}"
