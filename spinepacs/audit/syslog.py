"""The audit trail on its way to a syslog server (RFC 5424), over TLS (RFC 5425) or UDP (RFC 5426).

Syslog acknowledges nothing. What could not be sent is sent again later, so that a server may see a message twice; over
UDP, and at the moment when a TLS server dies, messages may be lost there. The trail in the database has them all.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from urllib.parse import urlsplit

from spinepacs.audit import trail
from spinepacs.audit.message import Messages, Node
from spinepacs.errors import Transient
from spinepacs.outages import Outage
from spinepacs.settings.sections import AuditSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.exclusive import Turn, Unrivalled
from spinepacs.store.ledger import Ledger
from spinepacs.tls import client_context, why_broken

_PRIORITY = 10 * 8 + 5  # facility security/authorisation, severity notice (IHE ITI-20)
_MESSAGE_ID = "DICOM+RFC3881"  # PS3.15 A.6
_TIMEOUT_S = 10.0
_LONGEST_PAUSE_S = 60.0
_log = logging.getLogger(__name__)


def export(
    settings: Settings, ledger: Ledger, stop: threading.Event, poll_s: float, turn: Turn | None = None
) -> None:
    """Send every new row of the trail until told to stop; while the server is away they wait in the database.

    ``turn``: one machine sends it at a time.
    """
    turn = turn or Unrivalled()
    messages = messages_for(settings)
    outage = Outage(_log, "the audit trail")
    pause_s = poll_s
    while not stop.is_set():
        try:
            if turn.take():
                send_new(settings.audit, messages, ledger)
            outage.over()
            pause_s = poll_s
        except (OSError, Transient) as error:
            outage.lasts(error if isinstance(error, Transient) else why_broken(error))
            pause_s = min(max(1.0, pause_s * 2), _LONGEST_PAUSE_S)
        stop.wait(pause_s)
    turn.close()


def send_new(settings: AuditSettings, messages: Messages, ledger: Ledger) -> int:
    """Send what the server does not have yet, and how many messages that were.

    Raises
    ------
    OSError, Transient
        If the server or the database is away; what was sent by then is written down, page by page.
    """
    sent = 0
    for rows in trail.pages(ledger, after=ledger.audit_exported(settings.syslog)):
        made = [(row["happened_at"], messages.of(row)) for row in rows]
        frames = [_frame(when, message) for when, message in made if message is not None]
        _send(settings, frames)
        ledger.mark_audit_exported(settings.syslog, rows[-1]["audit_id"])
        sent += len(frames)
    return sent


def probe(settings: AuditSettings) -> str:
    """Say what the server was seen to do: a TLS server shows its certificate, a UDP one only has a name.

    Raises
    ------
    OSError, BadSettings
        If it cannot be reached, or its certificate or ours cannot be used.
    """
    _send(settings, ())
    tls = settings.syslog.startswith("tls")
    return "its certificate is good" if tls else "its name is known; UDP answers nothing"


def messages_for(settings: Settings) -> Messages:
    """Make messages with what the settings say of us and of the destinations."""
    destinations = {item.name: Node(item.title, item.address[0]) for item in settings.destinations}
    ours = Node(settings.listener.ae_title, socket.gethostname())
    return Messages(ours, settings.audit.source_id, destinations)


def _frame(when: datetime, message: bytes) -> bytes:
    """One syslog message: header, no structured data, the message as UTF-8 with its mark (RFC 5424 6)."""
    host = socket.gethostname() or "-"
    stamp = when.isoformat(timespec="milliseconds")
    header = f"<{_PRIORITY}>1 {stamp} {host} spinepacs {os.getpid()} {_MESSAGE_ID} - "
    return header.encode("ascii", "replace") + b"\xef\xbb\xbf" + message


def _send(settings: AuditSettings, frames: Iterable[bytes]) -> None:
    url = urlsplit(settings.syslog)
    address = (url.hostname or "", url.port or 0)
    if url.scheme == "udp":
        family, _, _, _, target = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            for frame in frames:
                udp.sendto(frame, target)
        return
    with _tls(settings, address) as tls:
        for frame in frames:
            tls.sendall(b"%d %b" % (len(frame), frame))


@contextmanager
def _tls(settings: AuditSettings, address: tuple[str, int]) -> Iterator[ssl.SSLSocket]:
    """Open a connection for one page: one that has died meanwhile would swallow what is sent first."""
    context = client_context(settings)
    with (
        socket.create_connection(address, timeout=_TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=address[0]) as tls,
    ):
        yield tls
        with suppress(OSError):  # a server need not say goodbye
            tls.unwrap()
