"""TLS by the BCP 195 profile (PS3.15 B.12: RFC 8996, RFC 9325), for the listener, towards destinations and archives.

TLS 1.2 or 1.3, authenticated encryption with forward secrecy only, no renegotiation, no compression. A client always
checks the server's certificate and its name.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from spinepacs.errors import BadSettings
from spinepacs.settings.archives import ArchiveSettings
from spinepacs.settings.destinations import DicomDestination
from spinepacs.settings.dicomweb import DicomwebSettings
from spinepacs.settings.partners import Partner
from spinepacs.settings.sections import AuditSettings, ListenerSettings
from spinepacs.settings.settings import Settings
from spinepacs.settings.types import Section

CIPHERS_1_2 = ":".join(
    f"ECDHE-{certificate}-{cipher}"
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
    for certificate in ("ECDSA", "RSA")
)
"""The four of RFC 9325 4.2; TLS 1.3 has none that need leaving out."""

ServerSettings: TypeAlias = ListenerSettings | DicomwebSettings
"""What listens with a certificate of ours."""

DicomPeer: TypeAlias = DicomDestination | ArchiveSettings
"""Whom we open associations with."""

_log = logging.getLogger(__name__)


def client_context(partner: Partner | ArchiveSettings | AuditSettings) -> ssl.SSLContext:
    """Build what a connection to somebody is encrypted with, from the files as they are now.

    Raises
    ------
    BadSettings
        If one of the files cannot be used; the message says which and why.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if partner.tls_ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, partner.tls_ca)
    if partner.tls_certificate is not None:
        _identify(context, partner.tls_certificate, partner.tls_key)
    return context


def association_tls(peer: DicomPeer) -> tuple[ssl.SSLContext, str] | None:
    """Give what pynetdicom encrypts an association with: the context, and the name that the certificate must hold.

    None: nothing. Raises as :func:`client_context`.
    """
    return (client_context(peer), peer.tls_server_name or peer.host) if peer.tls else None


def server_context(settings: ServerSettings) -> ssl.SSLContext:
    """Build what those who connect to us are encrypted with; raises as :func:`client_context`."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    if settings.tls_certificate is None:
        raise BadSettings("tls needs tls_certificate")
    _identify(context, settings.tls_certificate, settings.tls_key)
    if settings.tls_client != "none" and settings.tls_ca is not None:
        _trust(context, settings.tls_ca)
        required = settings.tls_client == "required"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


class ServerTls:
    """The side that listens: encrypts connections with the certificate as it is now.

    Files that have changed are loaded with the next connection, so a renewed certificate needs no restart. What
    cannot be loaded (a certificate whose key is still the old one) is logged, and the last good one stays.

    Parameters
    ----------
    settings
        With ``tls``.

    Raises
    ------
    BadSettings
        If the files cannot be used at the start.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._state = self._look()
        self._context = server_context(settings)

    def accept(self, connection: socket.socket, limit_s: float) -> ssl.SSLSocket:
        """Do the handshake within ``limit_s`` seconds.

        Raises
        ------
        OSError
            :class:`ssl.SSLError` if the handshake fails, TimeoutError if it takes too long; the connection is closed.
        """
        wrapped = self.current().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(limit_s)
            wrapped.do_handshake()
        except OSError:
            wrapped.close()
            raise
        return wrapped

    def current(self) -> ssl.SSLContext:
        """Give the context, made anew if a file has changed."""
        with self._lock:
            state = self._look()
            if state != self._state:
                self._state = state
                try:
                    self._context = server_context(self._settings)
                    _log.info("the certificate was loaded again")
                except BadSettings as error:
                    _log.error("the certificate stays the old one: %s", error)
            return self._context

    def _look(self) -> list[tuple[int, int, int]]:
        """What changes when a file is written or replaced."""
        files = (self._settings.tls_certificate, self._settings.tls_key, self._settings.tls_ca)
        return [_stamp(file) for file in files if file is not None]


@dataclass(frozen=True)
class Certificate:
    """A PEM file of the settings: whose section, which key of it, and the file."""

    of: str
    key: str
    file: Path

    def ends_at(self) -> datetime:
        """Until when the first certificate in it holds.

        Raises
        ------
        BadSettings
            If it cannot be read; the message does not say where it lies.
        """
        try:
            decode = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]  # no public function of Python's reads a file
            seconds = ssl.cert_time_to_seconds(decode(str(self.file))["notAfter"])
        except (OSError, ValueError, KeyError) as error:
            raise BadSettings(f"cannot be read: {type(error).__name__}") from error
        return datetime.fromtimestamp(seconds, UTC)


def certificates(settings: Settings) -> Iterator[Certificate]:
    """Our certificates and those of authorities, as the settings name them."""
    sections: dict[str, Section] = {
        "listener": settings.listener, "audit": settings.audit, "dicomweb": settings.dicomweb,
    }  # fmt: skip
    partners: dict[str, Partner] = {f"destination {each.name}": each for each in settings.destinations}
    partners |= {f"notification {each.name}": each for each in settings.notifications}
    for of, section in {**sections, **partners}.items():
        for key in ("tls_certificate", "tls_ca"):
            file = getattr(section, key)
            if file is not None:
                yield Certificate(of, key, file)


def why_broken(error: OSError) -> str:
    """Say why a connection or a TLS handshake failed, and what to do, as far as the error tells.

    OpenSSL's reasons (``err.h`` of its libssl) are words for programmers.
    """
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "tls_server_name" if error.verify_code in _OF_A_NAME else "tls_ca"
        return f"certificate verify failed: {error.verify_message} (see {remedy})"
    if reason in _NOT_TLS:
        return "the other side speaks no TLS on this port: name its TLS port (often 2762), or switch TLS off here"
    if "PROTOCOL" in reason:
        return f"the other side speaks neither TLS 1.2 nor 1.3 ({reason})"
    if "ALERT" in reason:
        return f"the other side does not take our certificate or our ciphers ({reason}): see tls_certificate"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError)):
        return "the other side closes the connection: does it speak TLS on this port?"
    return reason or error.strerror or type(error).__name__


_OF_A_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_NOT_TLS = (
    "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG",
    "UNEXPECTED_RECORD", "UNEXPECTED_MESSAGE", "HTTPS_PROXY_REQUEST",
)  # fmt: skip


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _context(side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise BadSettings(f"{authorities}: no certificates of authorities in PEM ({_why(error)})") from error


def _identify(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    def refuse() -> str:
        """Without it OpenSSL would ask the terminal."""
        raise ValueError("the key is encrypted: give one without passphrase, readable by this user only")

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except (OSError, ValueError) as error:
        raise BadSettings(f"{certificate}: no certificate with its key in PEM ({_why(error)})") from error


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
