"""The C-STORE receiver: writes what comes as it comes, and answers success only for what is durable.

It decodes nothing: the study is found out later by a worker (see :mod:`spinepacs.dispatch`), so no damaged
dataset can hurt it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from socketserver import TCPServer
from typing import cast

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    Verification,
    XRayAngiographicImageStorage,
    XRayRadiofluoroscopicImageStorage,
)
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from spinepacs.dicom.pixels import DECODABLE_TRANSFER_SYNTAXES
from spinepacs.errors import Permanent, Transient
from spinepacs.intake.incoming import Incoming, StreamingDimse
from spinepacs.settings import ListenerSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool
from spinepacs.study import Source

STORAGE_CLASSES: tuple[str, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    XRayRadiofluoroscopicImageStorage,
    XRayAngiographicImageStorage,
    SecondaryCaptureImageStorage,
)
"""SOP classes that are taken in."""

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

# Its own log lines are made by formatting every PDU, at a price for each even where nobody reads them.
_config.LOG_HANDLER_LEVEL = "none"

_UID_LIKE = re.compile(r"[\x21-\x7e]{1,64}")
_READ_BYTES = 1 << 18
_POLL_S = 0.1
_log = logging.getLogger(__name__)


class Listener:
    """A DICOM acceptor for C-ECHO and C-STORE.

    Each received object goes to the spool, then to the ledger; only then 0x0000 is answered. What may pass
    (disk full or below its reserve, database away) is answered with 0xA700, so that the sender tries again.

    Parameters
    ----------
    settings
        AE title, address, limits, timeouts.
    spool, ledger
        Opened by the process that listens.
    """

    def __init__(self, settings: ListenerSettings, spool: Spool, ledger: Ledger) -> None:
        self._settings = settings
        self._spool = spool
        self._ledger = ledger
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on.

        Raises
        ------
        RuntimeError
            Before :meth:`start` and after :meth:`stop`.
        """
        if self._server is None:
            raise RuntimeError("the listener is not started")
        return int(self._server.server_address[1])

    @property
    def associations(self) -> list[Association]:
        """The associations that run."""
        return self._server.active_associations if self._server else []

    def start(self) -> int:
        """Listen in threads of this process, and return the port.

        Raises
        ------
        Permanent
            If the address cannot be listened on; the message says why.
        """
        ae = application_entity(self._settings)
        address = (self._settings.bind, self._settings.port)
        handlers = [
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_ACCEPTED, _log_association, ["association accepted"]),
            (evt.EVT_REJECTED, _log_association, ["association rejected"]),
            (evt.EVT_ABORTED, _log_association, ["association aborted"]),
            (evt.EVT_CONN_CLOSE, _on_close),
        ]
        try:
            server = _Server(
                ae,
                address,
                self._settings.ae_title,
                ae.supported_contexts,
                evt_handlers=handlers,  # type: ignore[arg-type]  # takes any mixture; its alias wants one kind
                request_handler=_RequestHandler,
            )
        except OSError as error:
            raise Permanent(f"cannot listen on {address[0]} port {address[1]}: {error.strerror}") from error
        server.spool = self._spool
        # One more each than can run: a writer may still clean up after an association that broke off.
        server.writers = ThreadPoolExecutor(2 * self._settings.maximum_associations, "writer")
        self._server = server
        threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="listener", daemon=True).start()
        _log.info("listening as %s on %s port %d", self._settings.ae_title, self._settings.bind, self.port)
        return self.port

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new association, let those that run end within ``grace_s`` seconds, then abort them.

        What is not yet answered by then is not acknowledged: the sender keeps it.
        """
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        until = time.monotonic() + grace_s
        while server.active_associations and time.monotonic() < until:
            time.sleep(0.02)
        for association in server.active_associations:
            association.abort()
        server.writers.shutdown(wait=False)

    def _on_store(self, event: evt.Event) -> int:
        """Keep one object and give the status; nothing is ever raised into the association."""
        request = cast(C_STORE, event.request)
        context = {"sop_uid": str(request.AffectedSOPInstanceUID), "calling_ae": _calling_ae(event)}
        try:
            return self._keep(event, request, context)
        except Transient as error:
            _log.warning("not taken now, answered 0xA700: %s", error, extra=context)
        except Exception:
            # A defect of ours: the sender keeps the object and may come again after the repair.
            _log.exception("not taken, answered 0xA700", extra=context)
        return OUT_OF_RESOURCES

    def _keep(self, event: evt.Event, request: C_STORE, context: dict[str, str]) -> int:
        started = time.monotonic()
        stored = cast(Incoming, request.DataSet).stored() if request.DataSet else None
        if stored is None or not _UID_LIKE.fullmatch(context["sop_uid"]):
            _log.warning("a request without SOP UID or dataset, answered 0xC000", extra=context)
            return CANNOT_UNDERSTAND
        outcome = self._ledger.add_arrival(
            NewArrival(
                sop_uid=context["sop_uid"],
                sop_class_uid=str(request.AffectedSOPClassUID),
                transfer_syntax_uid=str(event.context.transfer_syntax),
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
                source=Source.NETWORK,
                calling_ae=context["calling_ae"],
                called_ae=_called_ae(event),
                peer=str(event.assoc.requestor.address),
                received_at=datetime.now(UTC),
            )
        )
        seconds = round(time.monotonic() - started, 4)
        _log.info("received", extra={**context, "state": outcome.value, "seconds": seconds})
        return SUCCESS


def application_entity(settings: ListenerSettings) -> AE:
    """Build the acceptor with everything that it offers."""
    ae = AE(settings.ae_title)
    ae.maximum_pdu_size = settings.maximum_pdu_bytes
    ae.maximum_associations = settings.maximum_associations
    ae.acse_timeout = settings.acse_timeout_s
    ae.dimse_timeout = settings.dimse_timeout_s
    ae.network_timeout = settings.network_timeout_s
    ae.add_supported_context(Verification)
    for sop_class in STORAGE_CLASSES:
        ae.add_supported_context(sop_class, list(DECODABLE_TRANSFER_SYNTAXES))
    return ae


class _LargeReads(AssociationSocket):
    """Reads as much at once as there is: pynetdicom's 4 KiB at a time make parallel senders fight for the GIL."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or fewer if the peer closes before."""
        received = bytearray()
        while len(received) < nr_bytes and self.socket is not None:
            chunk = self.socket.recv(min(nr_bytes - len(received), _READ_BYTES))
            if not chunk:
                break
            received += chunk
        return received


class _RequestHandler(RequestHandler):
    """Gives each association its socket with large reads and a time limit."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        connection = association.dul.socket
        if connection is not None and connection.socket is not None:
            # Without it a peer that stops in the middle of a PDU holds its association for ever.
            connection.socket.settimeout(self.ae.network_timeout)
            connection.__class__ = _LargeReads
        association.dimse.__class__ = StreamingDimse
        return association


class _Server(ThreadedAssociationServer):
    """Stops accepting without touching the associations that run."""

    request_queue_size = 64
    daemon_threads = True
    spool: Spool
    writers: ThreadPoolExecutor

    def shutdown(self) -> None:
        """End ``serve_forever`` and close the listening socket."""
        TCPServer.shutdown(self)
        self.server_close()


def _on_close(event: evt.Event) -> None:
    dimse = event.assoc.dimse
    if isinstance(dimse, StreamingDimse):
        dimse.cancel()


def _log_association(event: evt.Event, what: str) -> None:
    _log.info(what, extra={"calling_ae": _calling_ae(event)})


def _calling_ae(event: evt.Event) -> str:
    return _printable(event.assoc.requestor.ae_title)


def _called_ae(event: evt.Event) -> str:
    request = event.assoc.requestor.primitive
    return _printable(request.called_ae_title if request else None)


def _printable(ae_title: str | None) -> str:
    """An AE title as the network gave it, safe for logs and the database."""
    return re.sub(r"[^\x20-\x7e]", "?", ae_title or "").strip()[:16]
