"""pynetdicom's acceptor, adapted: what it offers, how it reads and stops, and that several processes share its door."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from socketserver import TCPServer
from typing import Any

from pynetdicom import AE, _config
from pynetdicom.association import Association
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
from spinepacs.intake.incoming import StreamingDimse
from spinepacs.settings import ListenerSettings
from spinepacs.store.spool import Spool

STORAGE_CLASSES: tuple[str, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    XRayRadiofluoroscopicImageStorage,
    XRayAngiographicImageStorage,
    SecondaryCaptureImageStorage,
)
"""SOP classes that are taken in."""

POLL_S = 0.1
"""How often a listener looks whether it is to stop (s)."""

_READ_BYTES = 1 << 18

# Its own log lines are made by formatting every PDU, at a price for each even where nobody reads them.
_config.LOG_HANDLER_LEVEL = "none"


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


class Acceptor(ThreadedAssociationServer):
    """Accepts from a socket that others may accept from too; stops without touching the associations that run.

    With a ``share`` it takes no more associations at a time than that, and leaves the others to its siblings.
    """

    daemon_threads = True
    spool: Spool
    writers: ThreadPoolExecutor

    def __init__(self, ae: AE, door: socket.socket, share: int | None, handlers: list[Any]) -> None:
        self._door = door
        self._share = share
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

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept one connection; raises OSError, which means none, where a sibling was faster or is to take it."""
        if self._share is not None and len(self.active_associations) >= self._share:
            time.sleep(POLL_S)
            raise BlockingIOError
        return super().get_request()

    def shutdown(self) -> None:
        """End ``serve_forever`` and close the listening socket, for the siblings too."""
        TCPServer.shutdown(self)
        self.server_close()
