"""The trail reaches real sockets: UDP, and TLS with a certificate that is checked; what is not sent waits."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from spinepacs.audit.syslog import export, messages_for, send_new
from spinepacs.check import partners
from spinepacs.settings.sections import AuditSettings
from spinepacs.settings.settings import Settings
from tests import peers

HEADER = re.compile(
    rb"<85>1 2\d{3}-[\d-]{5}T[\d:.]{12}\+00:00 \S+ spinepacs \d+ DICOM\+RFC3881 - \xef\xbb\xbf"
)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Self-signed, for localhost, with its key in the same file."""
    path = tmp_path / "server.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    request += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    request += ["-keyout", str(tmp_path / "key.pem"), "-out", str(path)]
    subprocess.run(request, check=True, capture_output=True)
    with path.open("a") as file:
        file.write((tmp_path / "key.pem").read_text())
    return path


@contextmanager
def tls_server(certificate: Path, port: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """A syslog server: its port, and the octet-counted frames that it has got (RFC 5425 4.3)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    frames: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as door:

        def serve() -> None:
            while True:
                try:
                    with context.wrap_socket(door.accept()[0], server_side=True) as line:
                        frames.extend(_frames(b"".join(iter(lambda: line.recv(65536), b""))))
                except ssl.SSLError:
                    continue  # a client that does not trust us
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(door.getsockname()[1]), frames
        door.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _frames(data: bytes) -> Iterator[bytes]:
    while data:
        length, _, rest = data.partition(b" ")
        yield rest[: int(length)]
        data = rest[int(length) :]


def audited(syslog: str, **changes: object) -> Settings:
    return Settings(audit=AuditSettings.model_validate({"syslog": syslog, **changes}))


def body(frame: bytes) -> ElementTree.Element:
    match = HEADER.match(frame)
    assert match, frame
    return ElementTree.fromstring(frame[match.end() :])  # noqa: S314 - our own


def test_udp(ledger):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        settings = audited(f"udp://127.0.0.1:{server.getsockname()[1]}", source_id="SITE-7")
        ledger.add_event("started")
        ledger.add_event("retried")
        assert send_new(settings.audit, messages_for(settings), ledger) == 1
        assert send_new(settings.audit, messages_for(settings), ledger) == 0
        root = body(server.recv(65536))
        assert root.find("AuditSourceIdentification").get("AuditSourceID") == "SITE-7"
        assert root.find("EventIdentification/EventTypeCode").get("csd-code") == "110120"


def test_tls_sends_each_row_once_and_checks_the_server(ledger, certificate):
    with tls_server(certificate) as (port, frames):
        settings = audited(f"tls://localhost:{port}", tls_ca=certificate)
        ledger.add_event("started")
        ledger.add_event("stopped")
        send_new(settings.audit, messages_for(settings), ledger)
        ledger.add_event("started")
        send_new(settings.audit, messages_for(settings), ledger)
        peers.wait_until(lambda: len(frames) >= 3, what="three messages")
        codes = [body(frame).find("EventIdentification/EventTypeCode").get("csd-code") for frame in frames]
        assert codes == ["110120", "110121", "110120"]

        ledger.add_event("stopped")
        untrusted = audited(f"tls://localhost:{port}")
        with pytest.raises(ssl.SSLCertVerificationError):
            send_new(untrusted.audit, messages_for(untrusted), ledger)
        wrong_name = audited(f"tls://127.0.0.1:{port}", tls_ca=certificate)
        with pytest.raises(ssl.SSLCertVerificationError):
            send_new(wrong_name.audit, messages_for(wrong_name), ledger)
        assert len(frames) == 3


def test_check_tells_whether_the_server_can_be_used(tmp_path, certificate):
    with tls_server(certificate) as (port, _):
        asked = [
            audited(f"tls://localhost:{port}", tls_ca=certificate),
            audited(f"tls://localhost:{port}"),
            audited(f"tls://localhost:{port}", tls_ca=tmp_path / "none.pem"),
            audited(f"tls://localhost:{peers.free_port()}", tls_ca=certificate),
            audited("udp://localhost:514"),
        ]
        told = [partners.syslog(settings.audit) for settings in asked]
    assert [result.ok for result in told] == [True, False, False, False, True]
    assert "certificate verify failed" in told[1].detail.lower()
    assert "none.pem" in told[2].detail
    assert "refused" in told[3].detail.lower()


def test_what_happens_while_the_server_is_away_is_sent_when_it_comes_back(ledger, certificate):
    port = peers.free_port()
    settings = audited(f"tls://localhost:{port}", tls_ca=certificate)
    ledger.add_event("started")
    stop = threading.Event()
    exporting = threading.Thread(target=export, args=(settings, ledger, stop, 0.05))
    exporting.start()
    try:
        with tls_server(certificate, port) as (_, frames):
            peers.wait_until(lambda: len(frames) == 1, 15, "the message")
            ledger.add_event("stopped")
            peers.wait_until(lambda: len(frames) == 2, what="the next message")
    finally:
        stop.set()
        exporting.join(15)


@pytest.mark.parametrize("url", ["localhost:514", "tcp://localhost:514", "tls://localhost", "udp://a b:514"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="give tls://host:6514 or udp://host:514"):
        AuditSettings(syslog=url)
