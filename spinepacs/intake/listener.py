"""The C-STORE receiver: writes what comes as it comes, and answers success only for what is durable.

It decodes nothing: the study is found out later by a worker (see :mod:`spinepacs.serve.dispatch`), so no damaged
dataset can hurt it.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext

from spinepacs.domain.study import Source
from spinepacs.errors import Transient
from spinepacs.intake import contexts
from spinepacs.intake.acceptor import POLL_S, Acceptor
from spinepacs.intake.connection import LimitedSocket
from spinepacs.intake.gate import Gate
from spinepacs.intake.incoming import Incoming, TooLarge
from spinepacs.intake.port import open_port
from spinepacs.intake.visitors import Page, Turned, VisitorsBook
from spinepacs.outages import Outage
from spinepacs.settings.sections import ListenerSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool
from spinepacs.tls import ServerTls

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
TOO_LARGE = 0xC001
"""Of the range 'cannot understand' (PS3.4 B.2.3): final, where 0xA700 would bring the sender back with it for ever."""

OnReport = Callable[[evt.Event], tuple[int, None]]

_UID_LIKE = re.compile(r"[\x21-\x7e]{1,64}")
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
    door
        A listening socket (see :func:`~spinepacs.intake.port.open_port`) that is shared with ``sharers - 1`` other
        processes; None: one of its own, opened by :meth:`start`.
    page
        Of the visitors' book that is shared with them too; None: a book of its own.
    on_report
        Takes the reports of destinations on what they keep (N-EVENT-REPORT of storage commitment); None: nobody is
        asked, and none is taken.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        spool: Spool,
        ledger: Ledger,
        door: socket.socket | None = None,
        sharers: int = 1,
        page: Page | None = None,
        on_report: OnReport | None = None,
    ) -> None:
        self._settings = settings
        self._gate = Gate(settings, page or VisitorsBook().page(0))
        self._door = door
        self._sharers = sharers
        self._spool = spool
        self._ledger = ledger
        self._on_report = on_report
        self._outage = Outage(_log, "the receiving of images")
        self._server: Acceptor | None = None

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
            If the address cannot be listened on, or the certificate not be used; the message says why.
        """
        tls = ServerTls(self._settings) if self._settings.tls else None
        door = self._door or open_port(self._settings.bind, self._settings.port)
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_SOP_COMMON, self._on_services),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_ABORTED, self._on_aborted),
        ]
        if self._on_report is not None:
            handlers.append((evt.EVT_N_EVENT_REPORT, self._on_report))
        places = -(-self._settings.maximum_associations // self._sharers)
        server = Acceptor(self._settings, door, tls, places, self._gate, self._spool, handlers)
        self._server = server
        threading.Thread(target=server.serve_forever, args=(POLL_S,), name="listener", daemon=True).start()
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

    def _on_requested(self, event: evt.Event) -> None:
        """Support what this association asks for, as far as we do."""
        event.assoc.acceptor.supported_contexts = contexts.supported(
            _requested(event), self._settings.storage_classes, self._on_report is not None
        )

    def _on_services(self, event: evt.Event) -> dict[UID, SOPClassCommonExtendedNegotiation]:
        return contexts.services(_requested(event))

    def _on_accepted(self, event: evt.Event) -> None:
        self._gate.page.count_accepted()
        _log.info("association accepted", extra={"calling_ae": _calling_ae(event)})
        if refused := event.assoc.rejected_contexts:
            who = f"calling {_calling_ae(event)}, asked in vain for {contexts.refused(refused)}"
            self._gate.count(Turned.CONTEXT, event.assoc.requestor.address, who, len(refused))

    def _on_rejected(self, event: evt.Event) -> None:
        """Count what pynetdicom rejected: a called AE title that is not ours comes before the calling one."""
        is_for_us = not self._settings.check_called_ae or _called_ae(event) == self._settings.ae_title
        reason = Turned.CALLING_AE if is_for_us else Turned.CALLED_AE
        titles = f"calling {_calling_ae(event)}, called {_called_ae(event)}"
        self._gate.count(reason, event.assoc.requestor.address, titles)

    def _on_aborted(self, event: evt.Event) -> None:
        connection = event.assoc.dul.socket
        if event.assoc.dul.idle_timer_expired() and isinstance(connection, LimitedSocket):
            connection.too_slow("between PDUs")
        _log.info("association aborted", extra={"calling_ae": _calling_ae(event)})

    def _on_store(self, event: evt.Event) -> int | Dataset:
        """Keep one object and give the status; nothing is ever raised into the association."""
        request = event.request
        if not isinstance(request, C_STORE):  # pynetdicom asks for no more than the presentation context
            _log.warning(
                "no C-STORE where one belongs, answered 0xC000", extra={"calling_ae": _calling_ae(event)}
            )
            return CANNOT_UNDERSTAND
        context = {"sop_uid": str(request.AffectedSOPInstanceUID), "calling_ae": _calling_ae(event)}
        try:
            return self._keep(event, request, context)
        except TooLarge as error:
            self._gate.count(Turned.TOO_LARGE, event.assoc.requestor.address, context["calling_ae"])
            return _refusal(TOO_LARGE, str(error))
        except Transient as error:
            _log.info("not taken now, answered 0xA700: %s", error, extra=context)
            self._outage.lasts(error)
        except Exception:
            # A defect of ours: the sender keeps the object and may come again after the repair.
            _log.exception("not taken, answered 0xA700", extra=context)
        return OUT_OF_RESOURCES

    def _keep(self, event: evt.Event, request: C_STORE, context: dict[str, str]) -> int:
        started = time.monotonic()
        is_named = _UID_LIKE.fullmatch(context["sop_uid"])
        stored = cast(Incoming, request.DataSet).stored() if request.DataSet and is_named else None
        if stored is None:
            _log.warning("a request without SOP UID or dataset, answered 0xC000", extra=context)
            return CANNOT_UNDERSTAND
        outcome = self._ledger.add_arrival(
            NewArrival(
                context["sop_uid"],
                str(request.AffectedSOPClassUID),
                str(event.context.transfer_syntax),
                stored.sha256,
                stored.size_bytes,
                Source.NETWORK,
                calling_ae=context["calling_ae"],
                called_ae=_called_ae(event),
                peer=str(event.assoc.requestor.address),
            )
        )
        self._outage.over()
        seconds = round(time.monotonic() - started, 4)
        _log.info("received", extra={**context, "state": outcome.value, "seconds": seconds})
        return SUCCESS


def _requested(event: evt.Event) -> list[PresentationContext]:
    request = event.assoc.requestor.primitive
    return list(request.presentation_context_definition_list) if request else []


def _refusal(status: int, comment: str) -> Dataset:
    """A C-STORE status with its reason for a person (PS3.7 C.4: ErrorComment, at most 64 characters)."""
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:64]
    return answer


def _calling_ae(event: evt.Event) -> str:
    return _printable(event.assoc.requestor.ae_title)


def _called_ae(event: evt.Event) -> str:
    request = event.assoc.requestor.primitive
    return _printable(request.called_ae_title if request else None)


def _printable(ae_title: str | None) -> str:
    """An AE title as the network gave it, safe for logs and the database."""
    return re.sub(r"[^\x20-\x7e]", "?", ae_title or "").strip()[:16]
