"""Why a destination or an archive gives no association: what the network and TLS say, on a connection of its own.

pynetdicom only tells that there is none.
"""

from __future__ import annotations

import socket
import ssl

from spinepacs.errors import BadSettings
from spinepacs.tls import DicomPeer, client_context, why_broken

_LONGEST_S = 5.0
_LAST_WORD_S = 1.0
"""A TLS 1.3 server says only after the handshake that it does not know us."""


def why_unreachable(peer: DicomPeer, timeout_s: float = _LONGEST_S) -> str:
    """Say what stands between us and a peer, and what to do; nothing is asked and no object offered."""
    limit_s = min(timeout_s, _LONGEST_S)
    try:
        with socket.create_connection((peer.host, peer.port), limit_s) as plain:
            how = _with_tls(peer, plain) if peer.tls else _without_tls(plain)
    except TimeoutError:
        return f"not reachable: no answer within {limit_s:g} s: the machine is off, or a firewall drops what we send"
    except ConnectionRefusedError:
        return "not reachable: connection refused, nothing listens on that port: does the PACS run, is it the port?"
    except OSError as error:
        return f"not reachable: {why_broken(error)}"
    return how or (
        "it takes the connection and gives no DICOM association: is it a DICOM port, does it know our AE title and "
        "address, does it answer within timeout_s?"
    )


def _with_tls(peer: DicomPeer, plain: socket.socket) -> str:
    try:
        name = peer.tls_server_name or peer.host
        with client_context(peer).wrap_socket(plain, server_hostname=name) as encrypted:
            encrypted.settimeout(_LAST_WORD_S)
            try:
                encrypted.recv(1)
            except TimeoutError:  # it waits for us, as it should
                return ""
        return ""
    except BadSettings as error:
        return str(error)
    except TimeoutError:
        return "it does not answer the TLS handshake: does it speak TLS on this port? If not, set tls = false"
    except OSError as error:
        return f"no TLS: {why_broken(error)}"


def _without_tls(plain: socket.socket) -> str:
    """Whether it speaks TLS, which we do not offer it: by its answer to a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # it is asked nothing but whether it answers
    try:
        context.wrap_socket(plain).close()
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return ""
    except OSError:
        return ""
    return (
        "it speaks TLS on this port: set tls = true (and tls_ca, and tls_certificate where it asks for one)"
    )
