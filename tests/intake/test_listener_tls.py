"""TLS at the listener: DCMTK and scripted clients, with certificates made by the test."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from spinepacs.errors import BadSettings
from spinepacs.intake.listener import Listener
from spinepacs.settings.sections import ListenerSettings
from spinepacs.settings.settings import load
from spinepacs.tls import server_context
from tests import films, peers
from tests.certificates import Authority, Identity, authority
from tests.intake.doors import answer, counted, listening, request

pytestmark = pytest.mark.peer


@pytest.fixture
def ours(tmp_path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def server(ours, tmp_path) -> Identity:
    return ours.issue(tmp_path, "server")


def secured(ours: Authority, server: Identity, client: str = "required") -> dict[str, object]:
    return {
        "tls": True,
        "tls_certificate": server.certificate,
        "tls_key": server.key,
        "tls_ca": ours.certificate,
        "tls_client": client,
    }


def storescu(port: int, ours: Authority, who: Identity | None, *options: str | Path) -> int:
    """Send with DCMTK, which proves that it is ``who``, or nobody; its exit code."""
    proof = ["+tls", who.key, who.certificate] if who else ["+tla"]
    command = [peers.require("storescu"), *proof, "+cf", ours.certificate, "-aec", "SPINEPACS"]
    command += ["127.0.0.1", port, *options]
    return subprocess.run(
        [str(part) for part in command], capture_output=True, timeout=30, check=False
    ).returncode


def client(ours: Authority, who: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ours.certificate))
    if who:
        context.load_cert_chain(who.certificate, who.key)
    return context


def handshake(port: int, context: ssl.SSLContext) -> tuple[str, str]:
    """Version and cipher that are agreed on, and an echo of DICOM over them; raises OSError where it fails."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(request())
        if answer(secure)[:1] != b"\x02":  # TLS 1.3 tells of a refused client only after the handshake
            raise ConnectionError("no association")
        cipher = secure.cipher()
        return str(secure.version()), cipher[0] if cipher else ""


@pytest.mark.parametrize("rsa", [False, True], ids=["ECDSA", "RSA"])
@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_dcmtk_sends_by_each_bcp_195_profile(spool, ledger, ours, tmp_path, profile, rsa):
    server, modality = (ours.issue(tmp_path, name, rsa=rsa) for name in ("server", "modality"))
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    with listening(spool, ledger, **secured(ours, server)) as (listener, book):
        assert storescu(listener.port, ours, modality, profile, film) == 0
    assert len(ledger.unregistered(10)) == 1
    assert counted(book) == {}


def test_a_large_image_comes_through_whole(spool, ledger, ours, server, tmp_path):
    film = films.write(films.make_dx(films.spine_like(2000, 2000)), tmp_path / "film.dcm")
    with listening(spool, ledger, **secured(ours, server)) as (listener, _):
        assert storescu(listener.port, ours, ours.issue(tmp_path, "modality"), film) == 0
    (arrival,) = ledger.unregistered(10)
    assert spool.path_of(arrival.sha256).stat().st_size == arrival.size_bytes > 8_000_000


def test_who_cannot_prove_who_they_are_stays_outside(spool, ledger, ours, server, tmp_path):
    stranger = authority(tmp_path, "elsewhere").issue(tmp_path, "stranger")
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    with listening(spool, ledger, **secured(ours, server)) as (listener, book):
        assert storescu(listener.port, ours, None, film) != 0
        assert storescu(listener.port, ours, stranger, film) != 0
        peers.wait_until(lambda: counted(book) == {"tls": 2}, what="both to be counted")
    assert ledger.unregistered(10) == []


@pytest.mark.parametrize("mode", ["optional", "none"])
def test_proof_is_optional_where_it_is_said_so(spool, ledger, ours, server, tmp_path, mode):
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    stranger = authority(tmp_path, "elsewhere").issue(tmp_path, "stranger")
    with listening(spool, ledger, **secured(ours, server, mode)) as (listener, _):
        assert storescu(listener.port, ours, None, film) == 0
        assert (storescu(listener.port, ours, stranger, film) == 0) is (mode == "none")


def test_only_authenticated_ciphers_with_forward_secrecy_are_agreed_on(spool, ledger, ours, server, tmp_path):
    who = ours.issue(tmp_path, "modality")
    with listening(spool, ledger, **secured(ours, server)) as (listener, book):
        assert handshake(listener.port, client(ours, who))[0] == "TLSv1.3"
        for strong in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
            context = client(ours, who)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(strong)
            assert handshake(listener.port, context) == ("TLSv1.2", strong)
        for weak in ("ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "AES256-GCM-SHA384"):
            context = client(ours, who)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(weak)
            with pytest.raises(OSError, match="handshake"):
                handshake(listener.port, context)
        peers.wait_until(lambda: counted(book) == {"tls": 3}, what="all three to be counted")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")  # that it is refused is the test
def test_older_tls_is_refused(spool, ledger, ours, server, tmp_path):
    context = client(ours, ours.issue(tmp_path, "modality"))
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        listening(spool, ledger, **secured(ours, server)) as (listener, _),
        pytest.raises(OSError, match=r"(?i)protocol|version|alert"),
    ):
        handshake(listener.port, context)


def test_plain_dicom_is_not_taken_on_a_port_with_tls(spool, ledger, ours, server, caplog):
    with listening(spool, ledger, **secured(ours, server)) as (listener, book):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as plain:
            plain.sendall(request())
            assert answer(plain)[:1] != b"\x02"
        peers.wait_until(lambda: counted(book) == {"tls": 1}, what="it to be counted")
    assert "the other side speaks no TLS on this port" in caplog.text


def test_tls_is_not_taken_on_a_plain_port_and_the_log_says_what_to_change(spool, ledger, ours, caplog):
    with listening(spool, ledger) as (listener, book):
        with pytest.raises(OSError, match=r"."):
            handshake(listener.port, client(ours))
        peers.wait_until(lambda: counted(book) == {"protocol": 1}, what="it to be counted")
    assert "the sender uses TLS, and listener.tls is off" in caplog.text


def test_a_handshake_that_stalls_loses_its_place_and_others_do_not(spool, ledger, ours, server, tmp_path):
    settings = {**secured(ours, server), "acse_timeout_s": 0.5}
    who = ours.issue(tmp_path, "modality")
    with listening(spool, ledger, **settings) as (listener, book):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as slow:
            slow.sendall(b"\x16\x03\x01")
            assert handshake(listener.port, client(ours, who))[0] == "TLSv1.3"
            assert answer(slow) == b""
        peers.wait_until(lambda: book.inside() == 0, what="the free place")
        peers.wait_until(lambda: counted(book) == {"time": 1}, what="it to be counted")


def test_a_renewed_certificate_needs_no_restart(spool, ledger, ours, tmp_path, caplog):
    """The old one vouches for a name that clients no longer want; associations that run go on."""
    server = ours.issue(tmp_path, "server", san="DNS:old.example")
    who = ours.issue(tmp_path, "modality")
    with listening(spool, ledger, **secured(ours, server)) as (listener, _):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(listener.port, client(ours, who))
        ours.issue(tmp_path, "server")
        assert handshake(listener.port, client(ours, who))[0] == "TLSv1.3"

        good = server.certificate.read_bytes()
        server.certificate.write_bytes(good[:100])
        assert handshake(listener.port, client(ours, who))[0] == "TLSv1.3"
        assert "stays the old one" in caplog.text

        newcomer = authority(tmp_path, "second")
        server.certificate.write_bytes(good)
        ours.certificate.write_bytes(ours.certificate.read_bytes() + newcomer.certificate.read_bytes())
        assert handshake(listener.port, client(ours, newcomer.issue(tmp_path, "new")))[0] == "TLSv1.3"


def test_a_certificate_that_cannot_be_used_ends_the_start(spool, ledger, ours, server, tmp_path):
    stranger = ours.issue(tmp_path, "stranger")
    mixed = {**secured(ours, server), "tls_key": stranger.key}
    with pytest.raises(BadSettings, match=r"server\.pem.*KEY_VALUES_MISMATCH"):
        Listener(ListenerSettings(port=0, **mixed), spool, ledger).start()
    missing = {**secured(ours, server), "tls_ca": tmp_path / "none.pem"}
    with pytest.raises(BadSettings, match=r"none\.pem"):
        server_context(ListenerSettings(**missing))


def test_a_key_with_passphrase_is_refused_and_nobody_is_asked(ours, server, tmp_path):
    locked = tmp_path / "locked.key"
    command = [peers.require("openssl"), "pkey", "-in", server.key, "-aes256", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", locked], check=True, capture_output=True)
    with pytest.raises(BadSettings, match="passphrase"):
        server_context(ListenerSettings(**{**secured(ours, server), "tls_key": locked}))


def test_tls_without_its_files_is_refused():
    with pytest.raises(ValidationError, match="tls_certificate"):
        ListenerSettings(tls=True)
    with pytest.raises(ValidationError, match="tls_ca"):
        ListenerSettings(tls=True, tls_certificate="server.pem")


def test_paths_of_certificates_are_seen_from_the_settings_file(tmp_path):
    destination = 'name = "a"\nae_title = "A"\nhost = "h"\nport = 1\ntls = true\ntls_ca = "ca.pem"\n'
    path = tmp_path / "spinepacs.toml"
    path.write_text(
        '[listener]\ntls = true\ntls_certificate = "s.pem"\ntls_ca = "/etc/ca.pem"\n[[destinations]]\n'
        + destination
    )
    settings = load(path)
    assert settings.listener.tls_certificate == tmp_path / "s.pem"
    assert settings.listener.tls_ca == Path("/etc/ca.pem")
    assert settings.listener.tls_key is None
    assert settings.destinations[0].tls_ca == tmp_path / "ca.pem"
