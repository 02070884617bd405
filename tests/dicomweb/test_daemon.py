"""DICOMweb as a part of the daemon, with real peers: what they send is read, and what was made of it they can fetch."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread
from sqlalchemy import select

from spinepacs.store.accounts import AccountRole
from spinepacs.store.tables import arrivals, audit_events
from tests import peers
from tests.daemons import Daemon, daemon, film
from tests.dicomweb.servers import RELATED, SENDER, STORED, VIEWER, basic, body, listed, part10
from tests.web.consoles import PASSWORD, Answer, password_hash

SEG, SR, OVERLAY = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.7",
)


@dataclass
class Site:
    running: Daemon
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def client(self, name: str) -> DICOMwebClient:
        session = requests.Session()
        session.auth = (name, PASSWORD)
        return DICOMwebClient(self.url, session=session)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        with self.running.ledger() as ledger:
            return list(ledger.rows(select(table)))


@contextmanager
def site_of(tmp_path: Path, **sections: Any) -> Iterator[Site]:
    port = peers.free_port()
    with daemon(tmp_path, dicomweb={"enabled": True, "port": port}, **sections) as running:
        running.start()
        running.wait_ready()
        with running.ledger() as ledger:
            for name, role in ((SENDER, AccountRole.SENDER), (VIEWER, AccountRole.VIEWER)):
                ledger.accounts.add(name, role, password_hash())
        yield Site(running, port)


def test_what_a_client_stores_is_read_and_fetched_again(tmp_path: Path) -> None:
    films = [film(1), film(2, PatientID="SECRET-4712")]
    with site_of(tmp_path) as site:
        answer = site.client(SENDER).store_instances(films)
        assert {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence} == {
            each.SOPInstanceUID for each in films
        }
        peers.wait_until(lambda: site.running.states() == {"delivered": 2}, 60, "both studies")
        viewer = site.client(VIEWER)
        searched(viewer, films)
        fetched(viewer, films[0])
        pictures(viewer, site, films[0])
        by_token(site)
        trail = [(row["action"], row["account"]) for row in site.rows(audit_events) if row["account"]]
        assert {("searched", VIEWER), ("viewed", VIEWER)} == set(trail)
        assert trail.count(("viewed", VIEWER)) == 1, "not for each frame"
        assert {row["calling_ae"] for row in site.rows(arrivals)} == {SENDER}
        assert site.running.terminate() == 0


def searched(viewer: DICOMwebClient, films: list[Dataset]) -> None:
    first, second = films
    studies = [Dataset.from_json(row) for row in viewer.search_for_studies()]
    assert [each.StudyInstanceUID for each in studies] == [second.StudyInstanceUID, first.StudyInstanceUID]
    assert studies[0].PatientID == "SECRET-4712"
    assert studies[1].PatientName == first.PatientName
    assert studies[0].NumberOfStudyRelatedInstances == 4
    assert {"DX", "SEG", "SR"} <= set(studies[0].ModalitiesInStudy)

    def found(**filters: str) -> list[str]:
        rows = viewer.search_for_studies(search_filters=filters)
        return [Dataset.from_json(row).StudyInstanceUID for row in rows]

    only = [second.StudyInstanceUID]
    assert found(PatientID=str(first.PatientID)) == [first.StudyInstanceUID]
    day = first.StudyDate
    assert (
        found(PatientID="SECRET-4712") == found(PatientID="SECRET-?712") == found(PatientID="*4712*") == only
    )
    assert found(PatientID="SECRET_4712") == found(PatientID="%") == found(PatientID="SECRET-471") == []
    assert found(StudyInstanceUID=second.StudyInstanceUID) == only
    assert found(AccessionNumber=first.AccessionNumber) == found() == found(StudyDate=day)
    assert len(found()) == len(found(StudyDate=f"{day}-")) == len(found(StudyDate=f"-{day}")) == 2
    assert found(StudyDate="19000101-19001231") == found(ModalitiesInStudy="CT") == []
    assert len(found(ModalitiesInStudy="DX")) == 2
    assert len(viewer.search_for_studies(limit=1)) == len(viewer.search_for_studies(limit=1, offset=1)) == 1
    series = [Dataset.from_json(row) for row in viewer.search_for_series(first.StudyInstanceUID)]
    assert {each.Modality for each in series} >= {"DX", "SEG", "SR"}
    rows = viewer.search_for_series(first.StudyInstanceUID, search_filters={"Modality": "SEG"})
    assert [Dataset.from_json(row).Modality for row in rows] == ["SEG"]
    instances = [Dataset.from_json(row) for row in viewer.search_for_instances(first.StudyInstanceUID)]
    assert {each.SOPClassUID for each in instances} == {first.SOPClassUID, SEG, SR, OVERLAY}
    rows = viewer.search_for_instances(first.StudyInstanceUID, first.SeriesInstanceUID)
    assert [Dataset.from_json(row).SOPInstanceUID for row in rows] == [first.SOPInstanceUID]


def fetched(viewer: DICOMwebClient, film: Dataset) -> None:
    study = viewer.retrieve_study(film.StudyInstanceUID)
    assert len(study) == 4
    (back,) = [each for each in study if each.SOPInstanceUID == film.SOPInstanceUID]
    assert back.PixelData == film.PixelData
    assert back.file_meta.TransferSyntaxUID == film.file_meta.TransferSyntaxUID
    assert {each.SOPClassUID for each in study} == {film.SOPClassUID, SEG, SR, OVERLAY}
    names = film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID
    assert [each.SOPInstanceUID for each in viewer.retrieve_series(*names[:2])] == [film.SOPInstanceUID]
    assert viewer.retrieve_instance(*names).PixelData == film.PixelData
    for given in (viewer.retrieve_study_metadata(names[0]), viewer.retrieve_series_metadata(*names[:2]),
                  [viewer.retrieve_instance_metadata(*names)]):  # fmt: skip
        headers = [Dataset.from_json(each) for each in given]
        (header,) = [each for each in headers if each.SOPInstanceUID == film.SOPInstanceUID]
        assert "PixelData" not in header
        assert (header.Rows, header.PatientID) == (film.Rows, film.PatientID)
        assert not any("BulkDataURI" in json.dumps(each) for each in given)
    (frame,) = viewer.retrieve_instance_frames(*names, [1], media_types=("application/octet-stream",))
    assert frame == film.PixelData


def pictures(viewer: DICOMwebClient, site: Site, film: Dataset) -> None:
    def ask(path: str, accept: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        headers = {"Authorization": basic(VIEWER), "Accept": accept}
        connection.request("GET", f"/dicom-web/studies/{film.StudyInstanceUID}{path}", headers=headers)
        came = connection.getresponse()
        answer = Answer(came.status, came.headers, came.read())
        connection.close()
        return answer

    for each in map(Dataset.from_json, viewer.search_for_instances(film.StudyInstanceUID)):
        path = f"/series/{each.SeriesInstanceUID}/instances/{each.SOPInstanceUID}"
        answer = ask(f"{path}/rendered", "image/jpeg")
        if each.SOPClassUID in (SEG, SR):
            assert answer.status == 406
            continue
        assert (answer.status, answer.headers.get_content_type()) == (200, "image/jpeg"), answer.text
        picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[:2] == (each.Rows, each.Columns)
        is_coloured = bool((picture.max(axis=2) - picture.min(axis=2) > 60).any())
        assert is_coloured == (each.SOPClassUID == OVERLAY), "what was found is drawn on our picture only"
        assert ask(f"{path}/frames/1/rendered", "image/*").body == answer.body
        assert ask(f"{path}/frames/2/rendered", "image/*").status == 404
        assert ask(f"{path}/frames/2", "*/*").status == 404
        assert ask(f"{path}/frames/0", "*/*").status == ask(f"{path}/frames/a", "*/*").status == 400
        assert ask(f"{path}/rendered", "image/png").status == 406
        plain = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
        assert ask(f"{path}/frames/1", plain).status == (406 if each.SOPClassUID == OVERLAY else 200)
    other = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90'
    assert ask("", other).status == ask("", "application/dicom+xml").status == 406
    assert ask("/metadata", "application/dicom+xml").status == 406
    assert ask("/series/1.2.3", "*/*").status == ask("/series/1.2.3/metadata", "*/*").status == 404
    assert ask("/series/..%2f..%2f..", "*/*").status in (400, 404)


def by_token(site: Site) -> None:
    command = [
        sys.executable,
        "-m",
        "spinepacs",
        "account",
        "token",
        VIEWER,
        "--config",
        str(site.running.config),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert made not in site.running.log.read_text()

    def status() -> int:
        headers = {"Authorization": f"Bearer {made}"}
        return requests.get(f"{site.url}/studies", headers=headers, timeout=30).status_code

    assert status() == 200
    subprocess.run([*command, "--end"], capture_output=True, check=True)
    assert status() == 401


@pytest.mark.peer
def test_orthanc_sends_studies_and_fetches_what_was_made_of_them(tmp_path: Path) -> None:
    films = [film(1), film(2)]
    with site_of(tmp_path) as site:
        servers = {
            "spinepacs": [f"{site.url}/", SENDER, PASSWORD],
            "results": [f"{site.url}/", VIEWER, PASSWORD],
        }
        plugin = {"Enable": True, "Root": "/dicom-web/", "Servers": servers}
        with peers.orthanc(tmp_path, dicomweb=True, DicomWeb=plugin) as archive:
            sent = [archive.post("/instances", part10(each))["ID"] for each in films]
            archive.post("/dicom-web/servers/spinepacs/stow", {"Resources": sent, "Synchronous": True})
            peers.wait_until(lambda: site.running.states() == {"delivered": 2}, 60, "both studies")
            for row in site.rows(arrivals):
                (original,) = [each for each in films if each.SOPInstanceUID == row["sop_uid"]]
                with site.running.ledger():
                    stored = tmp_path / "spool" / "files" / row["sha256"][:2] / f"{row['sha256']}.dcm"
                assert dcmread(stored).PixelData == original.PixelData
            back_to(archive, films)
        assert site.running.terminate() == 0


def back_to(archive: peers.Orthanc, films: list[Dataset]) -> None:
    """It asks us for the studies, and fetches one with what was made of it."""
    found = archive.post("/dicom-web/servers/results/qido", {"Uri": "/studies"})
    assert {row["0020000D"]["Value"] for row in found} == {each.StudyInstanceUID for each in films}
    wanted = {"Resources": [{"Study": films[0].StudyInstanceUID}], "Synchronous": True}
    archive.post("/dicom-web/servers/results/retrieve", wanted)
    assert len(archive.sop_uids()) == len(films) + 3


def test_what_was_answered_is_there_after_kill_9_and_nothing_half(tmp_path: Path) -> None:
    answered: set[str] = set()
    with site_of(tmp_path) as site:
        is_killed = threading.Event()

        def send(number: int) -> None:
            headers = {"Authorization": basic(SENDER), "Content-Type": RELATED}
            while not is_killed.is_set():
                film_ = film(f"{number}-{len(answered)}")
                connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
                try:
                    connection.request("POST", "/dicom-web/studies", body(part10(film_)), headers)
                    came = connection.getresponse()
                    answer = Answer(came.status, came.headers, came.read())
                except (OSError, http.client.HTTPException):
                    return
                finally:
                    connection.close()
                assert answer.status == 200
                answered.update(uid for uid, _ in listed(answer, STORED))

        threads = [threading.Thread(target=send, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        peers.wait_until(lambda: len(answered) > 5, 60, "some answers")
        (server,) = site.running.pids("dicomweb")
        os.kill(server, signal.SIGKILL)
        is_killed.set()
        for thread in threads:
            thread.join(60)
        peers.wait_until(lambda: len(site.running.pids("dicomweb")) == 2, 60, "another server")
        rows = {row["sop_uid"]: row["sha256"] for row in site.rows(arrivals)}
        assert answered <= set(rows)
        files = {path.stem for path in (tmp_path / "spool" / "files").rglob("*.dcm")}
        assert {rows[uid] for uid in answered} <= files
        dead = [
            path
            for path in (tmp_path / "spool" / "tmp").rglob("*")
            if path.is_file() and path.name != ".lock"
        ]
        assert dead == [], "the next one clears away what the dead one had under way"
        site.client(SENDER).store_instances([film("after")])
        peers.wait_until(lambda: set(site.running.states()) == {"delivered"}, 120, "all studies")
        assert site.running.terminate() == 0


def test_it_is_off_by_default(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        running.start()
        running.wait_ready()
        assert "DICOMweb" not in running.log.read_text()
        assert running.terminate() == 0
