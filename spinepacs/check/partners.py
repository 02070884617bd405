"""Those that the daemon speaks with: database, senders, syslog server, destinations. Nothing is sent but C-ECHO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # defined at run time by pynetdicom

from spinepacs.audit.syslog import probe
from spinepacs.check.result import CheckResult
from spinepacs.cluster.roles import machine_name
from spinepacs.delivery import kinds
from spinepacs.delivery.sending import associate
from spinepacs.dicom.commitment import SOP_CLASS as COMMITMENT
from spinepacs.dicom.report.document import SOP_CLASSES
from spinepacs.errors import BadSettings, SpinepacsError
from spinepacs.intake.gate import why_open
from spinepacs.notify.herald import probe as probe_channel
from spinepacs.notify.herald import send_test
from spinepacs.openid import Provider
from spinepacs.reaching import why_unreachable
from spinepacs.settings.destinations import (
    Destination,
    DicomDestination,
    WebDestination,
)
from spinepacs.settings.oidc import OidcSettings
from spinepacs.settings.sections import AuditSettings, ListenerSettings, StorageSettings
from spinepacs.settings.settings import Settings
from spinepacs.settings.types import is_loopback
from spinepacs.show.page.pdf import load_weasyprint
from spinepacs.store.accounts import AccountRole
from spinepacs.store.bucket import BucketSpool
from spinepacs.store.engine import Access, Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.migration import Tables, compare
from spinepacs.store.rights import why_denied
from spinepacs.store.troubles import why_file_is_denied
from spinepacs.tls import server_context, why_broken

_LABELMAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
_TIMEOUT_S = 10.0


def database(url: str, is_running: bool) -> CheckResult:
    """Whether it answers, whether its tables fit, and whether the daemon may make and write them."""
    try:
        found = Database(url, Access.READ)
        try:
            tables, at = compare(found)
            denied = _why_not_written(found, tables)
        finally:
            found.close()
    except SpinepacsError as error:
        return CheckResult("database", False, str(error))
    kind = url.partition(":")[0]
    if denied or tables is Tables.NEWER:
        return CheckResult("database", False, denied or f"{kind}: {tables.value} ({at})")
    if tables is Tables.OLDER and is_running:
        return CheckResult(
            "database", False, f"{kind}: {tables.value} ({at}); the one that runs is of an older version"
        )
    return CheckResult("database", True, f"{kind}: {tables.value} ({at})")


def is_living(settings: Settings) -> bool:
    """Whether the machine of this name says in the database that it lives."""
    if not settings.cluster.enabled:
        return False
    try:
        with Ledger.open_to_read(settings.storage.database_url) as ledger:
            return any(machine.name == machine_name() for machine in ledger.machines.living())
    except SpinepacsError:
        return False  # said elsewhere


def bucket(settings: StorageSettings) -> CheckResult:
    """Whether object storage answers; nothing is written there."""
    try:
        with TemporaryDirectory(prefix="spinepacs-check-") as scratch:
            spool = BucketSpool(Path(scratch), settings.bucket)
            spool.check()
            spool.close()
    except SpinepacsError as error:
        return CheckResult("object storage", False, str(error))
    return CheckResult("object storage", True, f"{settings.bucket} answers")


def _why_not_written(database: Database, tables: Tables) -> str:
    """Why the daemon may not write there, or make its tables; empty: it may, as far as can be seen without writing."""
    if database.file is not None:
        return why_file_is_denied(database.file) or why_denied("the database", database.file)
    return database.why_not_written(tables is not Tables.CURRENT)


def strays(settings: Settings) -> Iterator[CheckResult]:
    """Destinations that something waits for, though the settings do not know them any more."""
    names = [destination.name for destination in settings.destinations]
    try:
        with Ledger.open_to_read(settings.storage.database_url) as ledger:
            waiting = ledger.strays(names)
    except SpinepacsError:
        return  # said above
    for name, count in waiting.items():
        remedy = f"put it back, or spinepacs redirect {name} NEW, or spinepacs withdraw {name}"
        yield CheckResult(
            f"destination {name}", False, f"{count} objects wait, but it is not in the settings: {remedy}"
        )


def syslog(settings: AuditSettings) -> CheckResult:
    """Whether the audit trail can be sent."""
    try:
        return CheckResult("audit", True, f"{settings.syslog}: {probe(settings)}")
    except (OSError, SpinepacsError) as error:
        why = error if isinstance(error, SpinepacsError) else why_broken(error)
        return CheckResult("audit", False, f"{settings.syslog}: {why}")


def notifications(settings: Settings, sends: bool) -> Iterator[CheckResult]:
    """Whether mail servers and webhooks can be reached; with ``sends`` each gets a message that says it is a test."""
    for channel in settings.notifications:
        name = f"notification {channel.name}"
        if sends:
            told = send_test(channel)
            yield CheckResult(name, told.is_told, told.message or "a test was sent")
        else:
            why = probe_channel(channel)
            yield CheckResult(name, not why, why or "it answers; nothing was sent: see --send")


def listener(settings: ListenerSettings) -> CheckResult:
    """Whether its certificate can be used, and who may come in."""
    try:
        tls = "TLS" if settings.tls and server_context(settings) else "no TLS"
    except SpinepacsError as error:
        return CheckResult("listener", False, str(error))
    return CheckResult("listener", True, why_open(settings) or f"{settings.bind}, {tls}")


def console(settings: Settings) -> CheckResult:
    """Whether there is an account to log in with, and whether passwords would cross the network in the clear."""
    web = settings.web
    try:
        with Ledger.open_to_read(settings.storage.database_url) as ledger:
            able = ledger.accounts.able()
    except SpinepacsError:
        return CheckResult("console", True, "its accounts can be seen once the database has its tables")
    who = f"{able} accounts" if able else "no account yet: `spinepacs account add NAME --role administrator`"
    if not is_loopback(web.bind) and not web.proxies:
        who += (
            f"; warning: {web.bind} is open to the network without TLS, so passwords and pictures can be read on the "
            'way: set web.bind = "127.0.0.1" and a proxy with TLS before it (docs/console.md)'
        )
    return CheckResult("console", True, who)


def single_sign_on(settings: OidcSettings) -> CheckResult:
    """Whether the OpenID provider answers, under the name that the settings give it."""
    try:
        settings.secret()
        return CheckResult("single sign-on", True, Provider(settings).probe())
    except SpinepacsError as error:
        return CheckResult("single sign-on", False, str(error))


def dicomweb(settings: Settings) -> CheckResult:
    """Whether its certificate can be used, and whether there is an account that may store."""
    web = settings.dicomweb
    try:
        how = "TLS" if web.tls and server_context(web) else "no TLS"
        with Ledger.open_to_read(settings.storage.database_url) as ledger:
            able = [account for account in ledger.accounts.all() if account.disabled_at is None]
    except BadSettings as error:
        return CheckResult("DICOMweb", False, str(error))
    except SpinepacsError:
        return CheckResult(
            "DICOMweb", True, f"{how}; its accounts can be seen once the database has its tables"
        )
    senders = sum(account.role.includes(AccountRole.SENDER) for account in able)
    lacking = "" if senders else "; nobody may store yet: `spinepacs account add NAME --role sender`"
    return CheckResult("DICOMweb", True, f"{web.bind}, {how}, {senders} accounts that may store{lacking}")


def _proposals(destination: DicomDestination, settings: Settings) -> dict[str, tuple[str, str]]:
    """What is offered, by name: SOP class and transfer syntax."""
    labelmap = settings.output.segmentation == "labelmap"
    all_kinds: dict[str, tuple[str, str]] = {
        "SEG": (_LABELMAP_SEGMENTATION if labelmap else SegmentationStorage, ExplicitVRLittleEndian),
        "SR": (SOP_CLASSES[settings.output.report], ExplicitVRLittleEndian),
        "OVERLAY": (SecondaryCaptureImageStorage, JPEGBaseline8Bit),
        "GSPS": (GrayscaleSoftcopyPresentationStateStorage, ExplicitVRLittleEndian),
        "PDF": (EncapsulatedPDFStorage, ExplicitVRLittleEndian),
    }
    proposals: dict[str, tuple[str, str]] = {kind: all_kinds[kind] for kind in destination.send}
    if destination.commitment:
        proposals["storage commitment"] = (COMMITMENT, ExplicitVRLittleEndian)
    return proposals


def destination(destination: Destination, settings: Settings) -> CheckResult:
    """Whether it can be spoken with, and takes what it is to get, as far as it tells; nothing is stored there."""
    # Whoever waits for the answer is a person: no destination gets longer than this.
    patient = destination.model_copy(update={"timeout_s": _TIMEOUT_S})
    if "PDF" in destination.send:
        load_weasyprint()
    if isinstance(patient, DicomDestination):
        return _pacs(patient, settings)
    why, (host, port) = kinds.probe(patient), patient.address
    well = (
        f"{patient.url} answers"
        if isinstance(patient, WebDestination)
        else f"{host}:{port} takes connections"
    )
    return CheckResult(f"destination {patient.name}", not why, why or well)


def _pacs(destination: DicomDestination, settings: Settings) -> CheckResult:
    """Whether it gives an association, answers C-ECHO, and takes what it is to get."""
    name = f"destination {destination.name}"
    proposals = _proposals(destination, settings)
    contexts = [build_context(Verification)]
    for sop_class, syntax in proposals.values():
        contexts.append(build_context(sop_class, [syntax, ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    calling_ae = destination.calling_ae_title or settings.listener.ae_title
    with associate(destination, calling_ae, contexts) as association:
        if not association.is_established:
            why = (
                "rejected the association (check both AE titles)"
                if association.is_rejected
                else f"cannot be reached: {why_unreachable(destination, destination.timeout_s)}"
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
