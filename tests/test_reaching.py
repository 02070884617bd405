"""Why a destination cannot be reached is said so that a person knows what to change; real peers on the other side."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from spinepacs.reaching import why_unreachable
from spinepacs.settings.destinations import DicomDestination
from tests import peers
from tests.certificates import Authority, authority

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


def destination(port: int, **settings: object) -> DicomDestination:
    return DicomDestination(name="pacs", ae_title="DCMTK", host="127.0.0.1", port=port, **settings)


def encrypted(ours: Authority, folder: Path, client: str, san: str = "IP:127.0.0.1"):
    """A PACS with TLS; ``client`` says whether it wants a certificate of ours (``-rc``) or not (``-ic``)."""
    who = ours.issue(folder, "pacs", san=san)
    options = ("+tls", who.key, who.certificate, "+cf", ours.certificate, client)
    return peers.dcmtk_storescp(folder, *map(str, options))


def test_nobody_listens():
    assert "nothing listens on that port" in why_unreachable(destination(peers.free_port()))


def test_nobody_answers_at_all():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        # A full line of those who wait: the kernel answers no further one, as a firewall would not.
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        assert "a firewall drops" in why_unreachable(destination(address[1]), 0.5)
        for one in waiting:
            one.close()


@pytest.mark.parametrize("client", ["-rc", "-ic"])
def test_plain_to_a_port_with_tls(ours, tmp_path, client):
    with encrypted(ours, tmp_path, client) as pacs:
        assert "it speaks TLS on this port: set tls = true" in why_unreachable(destination(pacs.port))


def test_tls_to_a_plain_port_of_dcmtk(ours, tmp_path):
    with peers.dcmtk_storescp(tmp_path) as pacs:
        why = why_unreachable(destination(pacs.port, tls=True, tls_ca=ours.certificate))
    assert "speaks no TLS on this port" in why or "does it speak TLS on this port" in why


def test_tls_to_a_plain_port_of_orthanc(ours, tmp_path):
    with peers.orthanc(tmp_path) as pacs:
        why = why_unreachable(destination(pacs.dicom_port, tls=True, tls_ca=ours.certificate))
    assert "speaks no TLS on this port" in why or "speak TLS on this port" in why


def test_tls_to_one_who_says_nothing(ours):
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = destination(server.getsockname()[1], tls=True, tls_ca=ours.certificate)
        assert "does it speak TLS on this port?" in why_unreachable(to, 0.5)


def test_a_certificate_that_nobody_we_know_vouches_for(ours, tmp_path):
    with encrypted(ours, tmp_path, "-ic") as pacs:
        assert "see tls_ca" in why_unreachable(destination(pacs.port, tls=True))


def test_a_certificate_for_another_name(ours, tmp_path):
    with encrypted(ours, tmp_path, "-ic", san="DNS:pacs.example") as pacs:
        why = why_unreachable(destination(pacs.port, tls=True, tls_ca=ours.certificate))
    assert "see tls_server_name" in why


def test_a_pacs_that_wants_our_certificate(ours, tmp_path):
    with encrypted(ours, tmp_path, "-rc") as pacs:
        why = why_unreachable(destination(pacs.port, tls=True, tls_ca=ours.certificate))
    assert "does not take our certificate" in why


def test_a_port_that_is_no_dicom():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "is it a DICOM port" in why_unreachable(destination(server.getsockname()[1]), 0.5)
