"""pynetdicom's acceptor, adapted: what it offers, how it reads and stops, and that several processes share its door."""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import sys
import threading
import time
from typing import Any, cast

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from spinepacs.intake import negotiation
from spinepacs.intake.connection import LimitedSocket
from spinepacs.intake.gate import Gate, read_request, says_something
from spinepacs.intake.incoming import StreamingDimse
from spinepacs.intake.port import PatientServer
from spinepacs.intake.proxy import sender_behind
from spinepacs.intake.upper import OrderlyAssociation, OrderlyUpperLayer
from spinepacs.intake.visitors import Turned
from spinepacs.settings.sections import ListenerSettings
from spinepacs.store.spool import Spool
from spinepacs.tls import ServerTls, why_broken

POLL_S = 10.0
"""How often a listener takes stock while nobody comes or goes (s)."""

_FULL_PAUSE_S = 0.1
_COURTESY_S = 0.003
"""A process that serves more associations than another one lets that one go first (s): those of one process share
its interpreter."""
_LEFT_BEHIND = 64
"""So many associations have ended before what they left in memory is collected."""

_MB = 1_000_000
_log = logging.getLogger(__name__)

# Its own log lines are made by formatting every PDU, at a price for each even where nobody reads them.
_config.LOG_HANDLER_LEVEL = "none"
negotiation.install()


def application_entity(settings: ListenerSettings) -> AE:
    """Build the acceptor; what it supports is settled with each association (see ``Listener._on_requested``)."""
    ae = AE(settings.ae_title)
    ae.maximum_pdu_size = settings.maximum_pdu_bytes
    ae.maximum_associations = settings.maximum_associations
    ae.require_called_aet = settings.check_called_ae
    ae.require_calling_aet = list(settings.calling_ae_titles)
    ae.acse_timeout = settings.acse_timeout_s
    ae.dimse_timeout = settings.dimse_timeout_s
    ae.network_timeout = settings.network_timeout_s
    return ae


class _RequestHandler(RequestHandler):
    """Gives each association its limited socket, with the association request that has been read already."""

    server: Acceptor

    def setup(self) -> None:
        """Take apart what :meth:`Acceptor.process_request_thread` hands over."""
        self.request, self._first_pdu = cast(tuple[socket.socket, bytes], self.request)

    def _create_association(self) -> Association:
        association = super()._create_association()
        connection = association.dul.socket
        if connection is not None:
            connection.__class__ = LimitedSocket
            cast(LimitedSocket, connection).limit(self.server.settings, self.server.gate, self._first_pdu)
        association.__class__ = OrderlyAssociation
        association.dul.__class__ = OrderlyUpperLayer
        association.dimse.__class__ = StreamingDimse
        cast(OrderlyAssociation, association).quieten()
        cast(OrderlyUpperLayer, association.dul).quieten()
        cast(StreamingDimse, association.dimse).limit(
            self.server.settings.maximum_object_mb * _MB, self.server.spool
        )
        return association


class Acceptor(PatientServer, ThreadedAssociationServer):
    """Accepts from a socket that others may accept from too; stops without touching the associations that run.

    Connections get a thread at once, which reads their association request; only then they become associations. With
    ``places`` taken it accepts no more, and leaves them in line or to its siblings.
    """

    daemon_threads = True

    def __init__(
        self,
        settings: ListenerSettings,
        door: socket.socket,
        tls: ServerTls | None,
        places: int,
        gate: Gate,
        spool: Spool,
        handlers: list[Any],
    ) -> None:
        self.settings = settings
        self.gate = gate
        self.spool = spool
        self._tls = tls
        self._door = door
        self._places = places
        self._entering: dict[int, str] = {}
        self._is_stopping = False
        self._left = 0
        self._counting = threading.Lock()
        ae = application_entity(settings)
        super().__init__(
            ae,
            door.getsockname(),
            ae.ae_title,
            ae.supported_contexts,
            evt_handlers=handlers,
            request_handler=_RequestHandler,
        )

    def server_bind(self) -> None:
        """Take the door instead of the socket that was made for us."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._door
        self.socket.setblocking(False)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def service_actions(self) -> None:
        """Tell the siblings who is still in; called whenever :data:`POLL_S` has passed.

        pynetdicom would collect garbage here, for 50 ms every 60th time, whether anybody has come or not.
        """
        self._take_stock()
        if self._left >= _LEFT_BEHIND:
            self._left = 0
            gc.collect()

    def leave(self, association: OrderlyAssociation) -> None:
        """One association is about to end: its place is free."""
        self._left += 1
        association.has_left = True
        self._take_stock()

    def _take_stock(self) -> int:
        """Write down who is in, and say how many; one thread at a time, so that none writes what was."""
        with self._counting:
            running = [
                association.requestor.address
                for association in self.active_associations
                if not cast(OrderlyAssociation, association).has_left
            ]
            inside = [*self._entering.copy().values(), *running]
            self.gate.page.seat(inside)
        return len(inside)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept one connection; raises OSError, which means none, where a sibling was faster or is to take it."""
        inside = self._take_stock()
        if inside >= self._places:
            time.sleep(_FULL_PAUSE_S)
            raise BlockingIOError
        fewest = self.gate.page.fewest_elsewhere()
        if fewest is not None and inside > fewest:
            time.sleep(_COURTESY_S)
        try:
            return super().get_request()
        except BlockingIOError:
            raise
        except OSError as error:
            # Out of file descriptors or the like: the connection stays in line, and asking at once would only spin.
            _log.warning("no connection can be accepted now: %s", error.strerror)
            time.sleep(_FULL_PAUSE_S)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line that a connection found no thread; socketserver would print a traceback."""
        self._entering.pop(id(request), None)
        self._take_stock()
        _log.warning("a connection could not be served: %s", type(sys.exc_info()[1]).__name__)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let a connection in, or turn it away, by its address; one from a balancer has yet to say whose it is."""
        address = str(client_address[0])
        if self.gate.is_proxy(address):
            self._entering[id(request)] = address
        elif not self._let_in(request, address):
            return
        super().process_request(request, client_address)

    def _let_in(self, request: socket.socket, address: str) -> bool:
        reason = self.gate.judge(address)
        if reason is not None:
            self.gate.count(reason, address)
            self.gate.turn_away(request, reason)
            return False
        self.gate.page.visit(address)
        self._entering[id(request)] = address
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Greet a connection and make it an association."""
        until_s = time.monotonic() + self.settings.acse_timeout_s
        try:
            address, *rest = client_address
            if self.gate.is_proxy(str(address)):
                address = self._introduced(request, str(address), until_s)
                if not address or not self._let_in(request, address):
                    return
            first_pdu, connection = self._greet(request, str(address), until_s)
            if first_pdu and not self._is_stopping:
                self.finish_request((connection, first_pdu), (address, *rest))  # type: ignore[arg-type]  # see setup
            else:
                connection.close()
        except Exception:
            _log.exception("defect while an association began")
            self.shutdown_request(request)
        finally:
            self._entering.pop(id(request), None)
            self._take_stock()

    def _introduced(self, connection: socket.socket, balancer: str, until_s: float) -> str:
        """Address of the sender for whom a balancer has connected; empty: it is closed, since it says of none."""
        try:
            sender = sender_behind(connection, until_s)
        except TimeoutError:
            self.gate.count(Turned.TIME, balancer, "no PROXY header in time")
        except ValueError as error:
            if str(error):
                self.gate.count(Turned.PROTOCOL, balancer, str(error))
        except OSError:
            pass
        else:
            if sender or self.gate.judge(balancer) is None:
                return sender or balancer
        connection.close()  # a balancer that looks whether we are there is no stranger: nothing is counted
        return ""

    def _greet(self, connection: socket.socket, address: str, until_s: float) -> tuple[bytes, socket.socket]:
        """Encrypt the connection where it has to be, and read its request; empty: there is none."""
        try:
            if self._tls is not None:
                if not says_something(connection, until_s):
                    return b"", connection  # a port check connects and says nothing
                connection = self._tls.accept(connection, max(until_s - time.monotonic(), 0.1))
            return read_request(connection, until_s), connection
        except TimeoutError:
            self.gate.count(Turned.TIME, address, "no association request in time")
        except ssl.SSLError as error:
            self.gate.count(Turned.TLS, address, why_broken(error))
        except ValueError as error:
            if str(error):  # a port check again
                self.gate.count(Turned.PROTOCOL, address, str(error))
        except OSError:
            pass
        return b"", connection

    def shutdown(self) -> None:
        """End ``serve_forever`` and close the listening socket, for the siblings too."""
        self._is_stopping = True
        PatientServer.shutdown(self)
        self.server_close()
