"""``spinepacs check``: is everything there that the daemon needs? Nothing is sent but C-ECHO.

The database is brought up to date as ``serve`` would do it; nothing else is changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # defined at run time by pynetdicom

from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.audit.syslog import probe
from spinepacs.delivery.sending import associate
from spinepacs.dicom.commitment import SOP_CLASS as COMMITMENT
from spinepacs.errors import SpinepacsError
from spinepacs.intake.gate import why_open
from spinepacs.settings.sections import AuditSettings, Destination, ListenerSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.tls import server_context

_LABELMAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class CheckResult:
    """One line of the check."""

    name: str
    ok: bool
    detail: str


def run_checks(settings: Settings) -> Iterator[CheckResult]:
    """Check model, policy, spool, disk, database and every destination, one result each.

    No check raises: what goes wrong is its result.
    """
    yield _model(settings)
    yield _policy(settings.model.policy)
    yield _spool(settings.storage.spool, settings.storage.reserve_mb)
    yield _database(settings.storage.database_url)
    if settings.listener.enabled:
        yield _listener(settings.listener)
    if settings.watch.folder is not None:
        yield _watch(settings.watch.folder, settings.watch.create)
    if settings.audit.syslog:
        yield _audit(settings.audit)
    if not settings.destinations:
        yield CheckResult("destinations", True, "none: results stay in the database and the spool")
    yield from _strays(settings)
    for destination in settings.destinations:
        try:
            yield _destination(destination, settings)
        except SpinepacsError as error:
            yield CheckResult(f"destination {destination.name}", False, str(error))


def _audit(settings: AuditSettings) -> CheckResult:
    try:
        return CheckResult("audit", True, f"{settings.syslog}: {probe(settings)}")
    except (OSError, SpinepacsError) as error:
        why = error if isinstance(error, SpinepacsError) else error.strerror or type(error).__name__
        return CheckResult("audit", False, f"{settings.syslog}: {why}")


def _model(settings: Settings) -> CheckResult:
    try:
        segmenter = Segmenter.open(settings.model.folder, 1, settings.model.precision)
    except SpinepacsError as error:
        return CheckResult("model", False, str(error))
    return CheckResult(
        "model", True, f"{segmenter.model_name} {segmenter.model_version}, sha256 as in its manifest"
    )


def _policy(path: Path) -> CheckResult:
    try:
        policy = Policy.load(path)
    except SpinepacsError as error:
        return CheckResult("policy", False, str(error))
    return CheckResult("policy", True, f"{policy.name} {policy.version}")


def _spool(spool: Path, reserve_mb: int) -> CheckResult:
    there = next(folder for folder in (spool, *spool.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return CheckResult(
            "spool", False, f"{there} is not writable for this user: chown it or change storage.spool"
        )
    free_mb = shutil.disk_usage(there).free // 1_000_000
    ok = free_mb > reserve_mb
    return CheckResult("spool", ok, f"{spool}: {free_mb} MB free, {reserve_mb} MB kept in reserve")


def _watch(folder: Path, create: bool) -> CheckResult:
    """Whether the watched folder is there, and files can be moved inside it."""
    if not folder.is_dir():
        why = (
            "is made at the start (watch.create)"
            if create
            else "is not there: mount its share, or set watch.create"
        )
        return CheckResult("watched folder", create, f"{folder} {why}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return CheckResult(
            "watched folder", False, f"{folder} is not writable for this user: files are moved in it"
        )
    return CheckResult("watched folder", True, str(folder))


def _database(url: str) -> CheckResult:
    try:
        ledger = Ledger.open(url)
        ledger.close()
    except SpinepacsError as error:
        return CheckResult("database", False, str(error))
    return CheckResult("database", True, f"{url.partition(':')[0]}: answers, schema up to date")


def _strays(settings: Settings) -> Iterator[CheckResult]:
    """Destinations that something waits for, though the settings do not know them any more."""
    names = [destination.name for destination in settings.destinations]
    try:
        with Ledger.open(settings.storage.database_url) as ledger:
            strays = ledger.strays(names)
    except SpinepacsError:
        return  # said above
    for name, count in strays.items():
        remedy = f"put it back, or spinepacs redirect {name} NEW, or spinepacs withdraw {name}"
        yield CheckResult(
            f"destination {name}", False, f"{count} objects wait, but it is not in the settings: {remedy}"
        )


def _proposals(destination: Destination, settings: Settings) -> dict[str, tuple[str, str]]:
    """What is offered, by name: SOP class and transfer syntax."""
    labelmap = settings.output.segmentation == "labelmap"
    all_kinds: dict[str, tuple[str, str]] = {
        "SEG": (_LABELMAP_SEGMENTATION if labelmap else SegmentationStorage, ExplicitVRLittleEndian),
        "SR": (ComprehensiveSRStorage, ExplicitVRLittleEndian),
        "OVERLAY": (SecondaryCaptureImageStorage, JPEGBaseline8Bit),
    }
    proposals: dict[str, tuple[str, str]] = {kind: all_kinds[kind] for kind in destination.send}
    if destination.commitment:
        proposals["storage commitment"] = (COMMITMENT, ExplicitVRLittleEndian)
    return proposals


def _listener(settings: ListenerSettings) -> CheckResult:
    """Whether its certificate can be used, and who may come in."""
    try:
        tls = "TLS" if settings.tls and server_context(settings) else "no TLS"
    except SpinepacsError as error:
        return CheckResult("listener", False, str(error))
    return CheckResult("listener", True, why_open(settings) or f"{settings.bind}, {tls}")


def _destination(destination: Destination, settings: Settings) -> CheckResult:
    name = f"destination {destination.name}"
    proposals = _proposals(destination, settings)
    contexts = [build_context(Verification)]
    for sop_class, syntax in proposals.values():
        contexts.append(build_context(sop_class, [syntax, ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    # Whoever waits for the answer is a person: no destination gets longer than this.
    patient = destination.model_copy(update={"timeout_s": _TIMEOUT_S})
    calling_ae = destination.calling_ae_title or settings.listener.ae_title
    with associate(patient, calling_ae, contexts) as association:
        if not association.is_established:
            why = (
                "rejected the association (check both AE titles)"
                if association.is_rejected
                else "cannot be reached"
            )
            return CheckResult(name, False, f"{destination.host}:{destination.port} {why}")
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        missing = [kind for kind, (sop_class, _) in proposals.items() if sop_class not in accepted]
        echo = association.send_c_echo() if Verification in accepted else None
    if missing:
        return CheckResult(
            name, False, f"does not accept {', '.join(missing)}: see docs/output.md for what to change"
        )
    answered = echo is not None and getattr(echo, "Status", None) == 0x0000
    return CheckResult(
        name, answered, "C-ECHO answered; accepts " + ", ".join(proposals) if answered else "no C-ECHO"
    )
