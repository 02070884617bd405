"""What the sender and a campaign propose and ask, and what they make of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from itertools import groupby

from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    StudyRootQueryRetrieveInformationModelFind,
)

from spinepacs.delivery import sending, stow
from spinepacs.delivery.verdicts import Outcome
from spinepacs.delivery.web import _TURNED_AWAY, Answer
from spinepacs.dicom import commitment
from spinepacs.domain.campaign import Query
from spinepacs.domain.priors import Ask
from spinepacs.domain.worklist import CodedTerm, Output
from spinepacs.exchange.archive import Asked
from spinepacs.exchange.performed import held_by, not_performed, performed
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.settings.destinations import DicomDestination, DicomwebDestination
from spinepacs.settings.settings import Settings
from tests.conformance.markdown import table


def _ranges(judge: Callable[[int], str], codes: Iterable[int]) -> Iterable[tuple[str, list[tuple[int, int]]]]:
    """Runs of codes by what they are judged as, in the order in which each judgement first comes."""
    found: dict[str, list[tuple[int, int]]] = {}
    for word, run in groupby(codes, judge):
        numbers = list(run)
        found.setdefault(word, []).append((numbers[0], numbers[-1]))
    return found.items()


_VERDICTS = {
    "success": "sent",
    "warning": "sent; the warning is kept in the message",
    Outcome.PERMANENT.value: "refused: three attempts, then `failed`",
    Outcome.TRANSIENT.value: (
        "tried again after `retry_first_s`, doubled up to `retry_longest_s`; `failed` after `maximum_attempts`"
    ),
}


def _verdict(status: int) -> str:
    outcome = sending.judge(status).outcome
    if outcome is not Outcome.SENT:
        return outcome.value
    return "success" if status == 0 else "warning"


def sender_statuses() -> str:
    """Every status of a C-STORE answer, judged as the sender judges it."""
    rows: list[tuple[str, ...]] = []
    for word, runs in _ranges(_verdict, range(1 << 16)):
        named = [f"0x{low:04X}" if low == high else f"0x{low:04X}–0x{high:04X}" for low, high in runs]
        rows.append(
            ("every other one" if word == Outcome.TRANSIENT.value else ", ".join(named), _VERDICTS[word])
        )
    rows.sort(key=_rest_last)
    return table(("status", "what follows"), rows)


def _rest_last(row: tuple[str, ...]) -> bool:
    return row[0].startswith("every other")


def stow_statuses() -> str:
    """HTTP statuses of STOW-RS without a word on the instance, as the sender judges them."""

    def judged(status: int) -> str:
        if status in _TURNED_AWAY or 300 <= status < 400:
            return "nothing was looked at: waits, no attempt is used up"
        outcome = stow.judge_answer(Answer(status, "", b""), "1.2").outcome
        return {Outcome.PERMANENT: "refused: three attempts, then `failed`"}.get(
            outcome, "tried again, each attempt counts"
        )

    rows: list[tuple[str, ...]] = []
    for word, runs in _ranges(judged, range(200, 600)):
        named = [str(low) if low == high else f"{low}–{high}" for low, high in runs]
        is_rest = word.startswith("tried")
        rows.append(("every other one, 2xx included" if is_rest else ", ".join(named), word))
    rows.sort(key=_rest_last)
    return table(("status", "what follows"), rows)


def sender_defaults() -> str:
    """Policies of the sender, with the settings of a destination that change them."""
    made = DicomDestination(name="x", ae_title="X", host="x", port=1)
    words = {
        "timeout_s": "for the connection, for each answer and each piece (s)",
        "retry_first_s": "before the second attempt (s)",
        "retry_longest_s": "between attempts, at most (s)",
        "maximum_attempts": "attempts on one object",
        "commitment": "storage commitment is asked for",
        "commitment_delay_s": "from the store to the request (s)",
        "commitment_wait_s": "for a report (s)",
        "tls": "TLS",
    }
    rows = [(what, f"`{name}`", str(getattr(made, name)).lower()) for name, what in words.items()]
    return table(("policy", "setting of `[[destinations]]`", "default"), rows)


class _Recorder(QueryRetrieve):
    """Notes the keys instead of asking, and answers with one row of everything."""

    def __init__(self) -> None:
        super().__init__("AE@127.0.0.1:1", Settings())
        self.asked: list[Dataset] = []

    def _find(self, keys: Dataset) -> list[Dataset]:
        self.asked.append(keys)
        row = Dataset()
        row.StudyInstanceUID, row.SeriesInstanceUID, row.SOPInstanceUID, row.Modality = (
            "1.2",
            "1.3",
            "1.4",
            "CR",
        )
        return [row]


def _matching(element: DataElement) -> str:
    if not element.value:
        return "universal"
    return "range" if element.VR == "DA" and "-" in str(element.value) else "single value"


def query_keys() -> str:
    """Keys of each C-FIND, as a campaign asks it, and whoever looks for priors."""
    recorder, query = _Recorder(), Query()
    list(recorder.studies(Asked(day=date(2026, 1, 31)), query))
    list(recorder.studies(Asked(accession="A1"), query))
    recorder.films("1.2", query)
    day = date(2026, 1, 31)
    recorder.of_patient(Ask(1, "P1", "", "1.2", day, 0), (day, day))
    found: dict[str, dict[str, set[str]]] = {}
    for keys in recorder.asked:
        level = found.setdefault(keys.QueryRetrieveLevel, {})
        for element in keys:
            if element.keyword != "QueryRetrieveLevel":
                level.setdefault(element.keyword, set()).add(_matching(element))
    rows = [
        (level, f"({tag >> 16:04X},{tag & 0xFFFF:04X})", keyword, ", ".join(sorted(kinds)))
        for level, keys in found.items()
        for keyword, kinds in keys.items()
        if (tag := tag_for_keyword(keyword)) is not None
    ]
    return table(("level", "tag", "key", "matching asked for"), rows)


def query_syntaxes() -> str:
    """Transfer syntaxes that are proposed for C-FIND and C-MOVE."""
    ae = AE("X")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    (proposed,) = ae.requested_contexts
    return table(("transfer syntax", "UID"), [(uid.name, f"`{uid}`") for uid in proposed.transfer_syntax])


def commitment_reasons() -> str:
    """Failure Reasons that have words of ours."""
    return table(
        ("Failure Reason", "shown as"),
        [(f"0x{code:04X}", words) for code, words in sorted(commitment._REASONS.items())],
    )


def workitem_attributes() -> str:
    """What a workitem is told before its final state, attribute by attribute."""
    station, code, now = CodedTerm("A", "B", "C"), CodedTerm("D", "E", "F"), datetime.now(UTC)
    output = Output("1.2", "1.3", "1.4", "1.5", "pacs")
    told = {
        "COMPLETED": performed(station, code, now, [output], _held_by_both),
        "CANCELED": not_performed("NOT_SENT", "it did not come"),
    }
    rows = [row for state, content in told.items() for row in _elements(state, content, "")]
    return table(("before", "tag", "attribute"), rows)


def _held_by_both(output: Output) -> Dataset:
    item = held_by(DicomDestination(name="pacs", ae_title="X", host="x", port=1), output)
    item.update(held_by(DicomwebDestination(name="pacs", kind="dicomweb", url="https://x"), output))
    return item


def _elements(state: str, content: Dataset, depth: str) -> Iterable[tuple[str, ...]]:
    for element in content:
        yield state, f"{depth}({element.tag.group:04X},{element.tag.element:04X})", element.keyword
        is_code = element.keyword.endswith("CodeSequence")
        if element.VR == "SQ" and not is_code:
            yield from _elements(state, element.value[0], depth + ">")
