"""TLS towards a destination: DCMTK's storescp with certificates made by the test."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from pynetdicom.presentation import build_context

from spinepacs.check.checks import run_checks
from spinepacs.delivery.sending import associate
from spinepacs.errors import Transient
from spinepacs.settings.destinations import DicomDestination
from spinepacs.settings.sections import StorageSettings
from spinepacs.settings.settings import Settings
from tests import films, peers
from tests.certificates import Authority, authority

pytestmark = [
    pytest.mark.peer,
    # pynetdicom leaves a socket whose handshake failed to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _collected():
    """Within the test that they belong to."""
    yield
    gc.collect()


@pytest.fixture
def ours(tmp_path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def pacs(tmp_path, ours):
    """A PACS whose certificate is for 127.0.0.1, and that wants to see one of ours."""
    who = ours.issue(tmp_path, "pacs")
    options = ("+tls", who.key, who.certificate, "+cf", ours.certificate, "-rc")
    with peers.dcmtk_storescp(tmp_path, *map(str, options)) as running:
        yield running


def destination(port: int, **settings: object) -> DicomDestination:
    more = {"timeout_s": 5, "tls": True, **settings}
    return DicomDestination(name="pacs", ae_title="DCMTK", host="127.0.0.1", port=port, **more)


def identity(ours: Authority, folder: Path) -> dict[str, Path]:
    """Our certificate, and the authority that vouches for the PACS."""
    who = ours.issue(folder, "spinepacs")
    return {"tls_ca": ours.certificate, "tls_certificate": who.certificate, "tls_key": who.key}


def is_stored(to: DicomDestination) -> bool:
    film = films.make_dx()
    context = build_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    with associate(to, "SPINEPACS", [context]) as association:
        return association.is_established and association.send_c_store(film).Status == 0x0000


def test_an_object_is_sent_encrypted_when_both_have_proved_who_they_are(pacs, ours, tmp_path):
    assert is_stored(destination(pacs.port, **identity(ours, tmp_path)))
    assert len(pacs.received()) == 1


def test_a_pacs_that_others_vouch_for_gets_nothing(pacs, ours, tmp_path):
    stranger = authority(tmp_path, "elsewhere").certificate
    assert not is_stored(destination(pacs.port, **identity(ours, tmp_path) | {"tls_ca": stranger}))
    assert not is_stored(destination(pacs.port))  # with the authorities of this machine
    assert pacs.received() == []


def test_a_certificate_for_another_name_is_not_enough(pacs, ours, tmp_path):
    mine = identity(ours, tmp_path)
    assert not is_stored(destination(pacs.port, tls_server_name="pacs.example", **mine))
    assert pacs.received() == []


def test_the_name_in_the_certificate_may_be_said(ours, tmp_path):
    who = ours.issue(tmp_path, "named", san="DNS:pacs.example")
    options = ("+tls", who.key, who.certificate, "+cf", ours.certificate, "-rc")
    mine = identity(ours, tmp_path)
    with peers.dcmtk_storescp(tmp_path, *map(str, options)) as pacs:
        assert not is_stored(destination(pacs.port, **mine))
        assert is_stored(destination(pacs.port, tls_server_name="pacs.example", **mine))


def test_a_pacs_that_wants_a_certificate_takes_nothing_without(pacs, ours):
    assert not is_stored(destination(pacs.port, tls_ca=ours.certificate))


def test_a_pacs_without_tls_gets_nothing(ours, tmp_path):
    with peers.dcmtk_storescp(tmp_path) as plain:
        assert not is_stored(destination(plain.port, **identity(ours, tmp_path)))
        assert plain.received() == []


def test_certificates_that_cannot_be_read_are_waited_for_and_told(ours, tmp_path):
    to = destination(1, tls_ca=tmp_path / "absent.pem")
    with pytest.raises(Transient, match=r"no TLS to pacs: .*absent\.pem"):
        is_stored(to)
    storage = StorageSettings(spool=tmp_path / "spool", database_url=f"sqlite:///{tmp_path / 'l.sqlite'}")
    checks = {check.name: check for check in run_checks(Settings(storage=storage, destinations=(to,)))}
    assert not checks["destination pacs"].ok
    assert "absent.pem" in checks["destination pacs"].detail
    assert checks["listener"].ok
