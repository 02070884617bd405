"""pynetdicom's threads of an association, made to end in order whatever the peer sends (PS3.8 9.2).

Its own end in a traceback when something arrives that does not belong into their state or cannot be negotiated; the
other of the two threads goes on then, without limit of time, for as long as the peer keeps the connection open.
pynetdicom makes its objects itself, so they are turned into these by setting their class.
"""

from __future__ import annotations

import logging

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from spinepacs.intake.incoming import StreamingDimse

_log = logging.getLogger(__name__)


class OrderlyAssociation(Association):
    """The thread of one association that negotiates and serves."""

    def run(self) -> None:
        """Negotiate and serve until the association ends, however it ends; half an object does not stay."""
        try:
            super().run()
        except Exception as error:
            _break_off(self, error)
        finally:
            if isinstance(self.dimse, StreamingDimse):
                self.dimse.cancel()


class OrderlyUpperLayer(DULServiceProvider):
    """The thread of one association that reads and writes its PDUs."""

    def run(self) -> None:
        """Read and write until the association ends, however it ends."""
        try:
            super().run()
        except Exception as error:
            _break_off(self.assoc, error)


def _break_off(association: Association, error: Exception) -> None:
    _log.warning("association broken off: %s", type(error).__name__)
    association.is_aborted, association.is_established = True, False
    association._kill = True
    association.dul.kill_dul()
    if association.dul.socket is not None:
        association.dul.socket.close()
