"""A digest as a mail, by the standard library: plain text, one message to all recipients of its channel.

Header fields are made of settings, counts and this machine's name, by ``email``, which takes no line ends in them.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from spinepacs.errors import BadSettings
from spinepacs.notify.digest import Digest, Told
from spinepacs.settings.notifications import MailNotification
from spinepacs.tls import client_context, why_broken

_WHOLE = 4
"""A conversation may take so many times ``timeout_s``, however its answers trickle in."""


def send(channel: MailNotification, digest: Digest) -> Told:
    """Send it; where one of several recipients is refused, the others get it all the same."""
    try:
        with _server(channel) as server:
            refused = server.send_message(message(channel, digest))
    except (OSError, smtplib.SMTPException, BadSettings) as error:
        return Told(False, _why(error))
    return Told(True, f"{len(refused)} of {len(channel.to)} recipients were refused" if refused else "")


def probe(channel: MailNotification) -> str:
    """Connect, encrypt and log in, and send nothing; why that does not work."""
    try:
        with _server(channel) as server:
            server.noop()
    except (OSError, smtplib.SMTPException, BadSettings) as error:
        return _why(error)
    return ""


def message(channel: MailNotification, digest: Digest) -> EmailMessage:
    """Make the mail; a digest that is sent again has the same Message-ID."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = channel.from_address
    mail["To"] = ", ".join(channel.to)
    mail["Subject"] = digest.subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{digest.uid}.{channel.name}@{channel.from_address.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes, please
    mail.set_content(digest.text, cte="quoted-printable")
    return mail


@contextmanager
def _server(channel: MailNotification) -> Iterator[smtplib.SMTP]:
    """Connect and log in, with a limit for all of it."""
    context = client_context(channel) if channel.security != "none" else None
    server = _Tls(channel, context) if channel.security == "tls" else _Plain(channel)
    try:
        if channel.security == "starttls":
            server.starttls(context=context)
        if channel.user:
            server.login(channel.user, channel.secret())
        yield server
        with suppress(
            OSError, smtplib.SMTPException
        ):  # it has taken the mail: a rude goodbye changes nothing
            server.quit()
    finally:
        server.close()


class _Plain(smtplib.SMTP):
    """A connection that is broken off when it takes too long as a whole."""

    def __init__(self, channel: MailNotification) -> None:
        self._timer = _timer(self, channel.timeout_s)
        super().__init__(channel.host, channel.port, _own_name(), channel.timeout_s)

    def close(self) -> None:
        """End it."""
        self._timer.cancel()
        super().close()


class _Tls(smtplib.SMTP_SSL):
    """The same with TLS from the first byte on."""

    def __init__(self, channel: MailNotification, context: ssl.SSLContext | None) -> None:
        self._timer = _timer(self, channel.timeout_s)
        super().__init__(channel.host, channel.port, _own_name(), timeout=channel.timeout_s, context=context)

    def close(self) -> None:
        """End it."""
        self._timer.cancel()
        super().close()


def _timer(server: smtplib.SMTP, timeout_s: float) -> threading.Timer:
    def end() -> None:
        with suppress(OSError):
            if server.sock is not None:
                server.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_WHOLE * timeout_s, end)
    timer.daemon = True
    timer.start()
    return timer


def _own_name() -> str:
    """For EHLO; smtplib would ask the name server for it, and wait."""
    name = socket.gethostname()
    return name if name.isascii() and name.isprintable() and name else "localhost"


def _why(error: Exception) -> str:
    """What a person can do something with; of the server's words the number only, since they may quote the mail."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({str(code) for code, _ in error.recipients.values()})
        return f"the mail server refuses all recipients (SMTP {', '.join(codes)})"
    said = next((words for kind, words in _WORDS if isinstance(error, kind)), "")
    if said:
        return said.format(code=getattr(error, "smtp_code", ""))
    if isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException):
        return why_broken(error)
    return str(error) if isinstance(error, BadSettings) else type(error).__name__


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (smtplib.SMTPAuthenticationError, "the mail server does not take user and password (SMTP {code})"),
    (smtplib.SMTPResponseException, "the mail server does not take the mail (SMTP {code})"),
    (
        smtplib.SMTPNotSupportedError,
        'the mail server offers no STARTTLS, or no login: see security ("tls" for port 465) and user',
    ),
    (
        smtplib.SMTPServerDisconnected,
        "the mail server closes the connection, or answers too slowly: see security and port",
    ),
    (TimeoutError, "the mail server does not answer in time"),
    (ConnectionRefusedError, "connection refused, nothing listens on that port of the mail server"),
    (socket.gaierror, "the mail server's host is not found"),
)
