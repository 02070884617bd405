"""C-FIND and C-MOVE over TLS: a real Orthanc that wants to see our certificate, and sends its films over TLS, too."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from spinepacs.domain.campaign import Query
from spinepacs.exchange.archive import ArchiveAway, Asked
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.settings.archives import ArchiveSettings
from spinepacs.settings.settings import Settings
from tests import films, peers
from tests.certificates import Authority, Identity, authority

pytestmark = [
    pytest.mark.peer,
    *peers.UNCLOSED_SOCKETS,
    # pynetdicom leaves a socket whose handshake failed to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

FILMS = 40
"""So many answers come in more than one TLS record."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def us(ours: Authority) -> Identity:
    return ours.issue(ours.certificate.parent, "spinepacs")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[peers.Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    who = ours.issue(folder, "pacs")
    tls = {
        "DicomTlsEnabled": True,
        "DicomTlsRemoteCertificateRequired": True,
        "DicomTlsCertificate": str(who.certificate),
        "DicomTlsPrivateKey": str(who.key),
        "DicomTlsTrustedCertificates": str(ours.certificate),
        "DicomModalities": {"us": {"AET": "SPINEPACS", "Host": "127.0.0.1", "Port": 1}},
    }
    with peers.orthanc(folder, **tls) as running:
        for number in range(FILMS):
            film = films.make_dx(seed=f"{number}", study="one", BodyPartExamined="LSPINE")
            running.post("/instances", films.write(film, folder / "film.dcm").read_bytes())
        yield running


def archive(pacs: peers.Orthanc, **tls: object) -> QueryRetrieve:
    known = ArchiveSettings.model_validate({"host": "127.0.0.1", "port": pacs.dicom_port, **tls})
    return QueryRetrieve(f"ORTHANC@127.0.0.1:{pacs.dicom_port}", Settings(archives=(known,)))


def test_studies_and_films_are_asked_for_when_both_have_proved_who_they_are(
    pacs: peers.Orthanc, ours: Authority, us: Identity
) -> None:
    peer = archive(pacs, tls_ca=ours.certificate, tls_certificate=us.certificate, tls_key=us.key)
    (study_uid,) = next(iter(peer.studies(Asked(day=date(2026, 1, 2)), Query())))
    assert len(peer.films(study_uid, Query())) == FILMS
    assert "C-FIND answers" in peer.probe()


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"tls": False}, r"set tls = true .*\[\[archives\]\]"),
        ({}, "see tls_ca"),
        ({"tls_ca": "ours", "tls_server_name": "pacs.example"}, "see tls_server_name"),
        ({"tls_ca": "ours"}, "does not take our certificate"),
        ({"tls_ca": "absent.pem"}, r"no TLS to the archive: .*absent\.pem"),
    ],
)
def test_what_is_wrong_is_told_and_waited_for(
    pacs: peers.Orthanc, ours: Authority, tls: dict[str, object], words: str
) -> None:
    given = {key: ours.certificate if value == "ours" else value for key, value in tls.items()}
    with pytest.raises(ArchiveAway, match=words):
        archive(pacs, **given).probe()
    gc.collect()


def test_a_port_that_no_table_names_is_spoken_with_in_the_clear(tmp_path: Path) -> None:
    known = ArchiveSettings(host="pacs.example.org", port=2762, tls_ca=tmp_path / "ca.pem")
    settings = Settings(archives=(known,))
    assert settings.archive("PACS.example.org", 2762) is known
    assert not settings.archive("pacs.example.org", 104).tls
