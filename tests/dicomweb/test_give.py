"""Searching and fetching: whatever is asked has an answer, and who takes none of it is cut off."""

from __future__ import annotations

import socket
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydicom import Dataset

from spinepacs.dicom.reading.header import header_of
from spinepacs.dicom.reading.parse import parse
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import peers
from tests.daemons import film
from tests.dicomweb.servers import VIEWER, Running, basic, body, part10, serving


def taken_in(site: Running, dataset: Dataset) -> str:
    """Store a film and register it, as a worker would; its path."""
    assert site.store(body(part10(dataset))).status == 200
    for waiting in site.ledger.unregistered(10):
        header = header_of(parse(site.spool.path_of(waiting.sha256), with_pixels=False))
        site.ledger.register(waiting.arrival_id, header, None)
    series = f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
    return f"{series}/instances/{dataset.SOPInstanceUID}"


def test_a_film_that_nobody_has_read_yet_is_given(site: Running) -> None:
    dataset = film(1)
    path = taken_in(site, dataset)
    answer = site.get(path, Accept='multipart/related; type="application/dicom"; transfer-syntax=*')
    assert answer.status == 200
    assert dataset.PixelData in answer.body
    assert site.get(f"{path}?accept=image/png").status == 406
    (row,) = site.json("/studies")
    assert row["00081190"]["Value"] == [f"{site.url}/studies/{dataset.StudyInstanceUID}"]
    assert row["00080005"]["Value"] == ["ISO_IR 192"]
    for name in ("0020000D", "StudyInstanceUID"):
        assert len(site.json(f"/studies?{name}={dataset.StudyInstanceUID}")) == 1
    assert site.json("/studies?StudyInstanceUID=1.2.3,1.2.4") == site.json("/studies/1.2.3/series") == []


def test_a_key_that_is_none_is_told(site: Running) -> None:
    for query in ("PatientName=x", "00100010=x", "a=b", "SOPInstanceUID=1.2", "StudyDate=2026", "StudyDate=20261301",
                  "limit=x", "limit=-1", "offset=1e3", "StudyDate=20260101-x"):  # fmt: skip
        answer = site.get(f"/studies?{query}")
        assert answer.status == 400, query
    assert site.get("/studies?PatientName=&limit=5&includefield=all&fuzzymatching=true").status == 200
    assert site.get("/studies/1.2/series?PatientName=x").status == 400


def test_a_name_in_other_letters_is_given_as_it_is_and_damage_costs_one_row(site: Running) -> None:
    dataset = film(1, SpecificCharacterSet="ISO_IR 144", PatientName="Иванов^Иван")
    taken_in(site, dataset)
    damaged = film(2, ImagerPixelSpacing=[0.1, 0.1])
    raw = part10(damaged).replace(b"0.1\\0.1", b"x.y\\z.q")
    assert raw != part10(damaged)
    assert site.store(body(raw)).status == 200
    (waiting,) = site.ledger.unregistered(10)
    path = site.spool.path_of(waiting.sha256)
    site.ledger.register(waiting.arrival_id, header_of(parse(path, with_pixels=False)), None)
    rows = site.json("/studies")
    assert [row["0020000D"]["Value"][0] for row in rows] == [
        damaged.StudyInstanceUID,
        dataset.StudyInstanceUID,
    ]
    assert rows[1]["00100010"]["Value"] == [{"Alphabetic": "Иванов^Иван"}]
    answer = site.get(f"/studies/{damaged.StudyInstanceUID}/metadata")
    assert answer.status == 200, answer.text
    path.unlink()
    assert site.get(f"/studies/{damaged.StudyInstanceUID}").status == 404
    assert site.get(f"/studies/{dataset.StudyInstanceUID}").status == 200


def test_whatever_is_asked_has_an_answer(site: Running, caplog: pytest.LogCaptureFixture) -> None:
    path = taken_in(site, film(1))
    study = path.partition("/series")[0]
    texts = strategies.text(strategies.characters(codec="utf-8"), max_size=20)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        where=strategies.sampled_from(
            [
                "/studies",
                f"{study}/series",
                f"{study}/instances",
                study,
                path,
                f"{path}/frames/1",
                f"{path}/metadata",
            ]
        ),
        key=strategies.sampled_from(
            [
                "PatientID",
                "StudyDate",
                "StudyInstanceUID",
                "limit",
                "offset",
                "ModalitiesInStudy",
                "accept",
                "00080050",
            ]
        )
        | texts,
        value=texts | strategies.sampled_from(["*", "?", "20260101-", "-", "99991231", "%", "\\", "'"]),
        accept=strategies.text(
            strategies.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60
        ),
    )
    def fuzz(where: str, key: str, value: str, accept: str) -> None:
        answer = site.ask(
            "GET",
            f"/dicom-web{where}?{quote(key)}={quote(value)}",
            headers={"Accept": accept.strip()},
        )
        assert answer.status in (200, 400, 404, 406), answer.text

    fuzz()
    assert "defect" not in caplog.text


def test_who_takes_nothing_is_cut_off(ledger: Ledger, spool: Spool) -> None:
    large = film(1)
    large.PixelData = bytes(24_000_000)  # more than the kernel holds for a client
    sections = {"listener": {"network_timeout_s": 0.5}, "dicomweb": {"maximum_requests": 1}}
    with serving(ledger, spool, **sections) as site:
        path = taken_in(site, large)
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", site.port))
            head = [f"GET /dicom-web{path} HTTP/1.1", "Host: here", f"Authorization: {basic(VIEWER)}", "", ""]
            line.sendall("\r\n".join(head).encode())
            peers.wait_until(lambda: site.get("/studies").status == 503, 20, "the one place, taken")
            peers.wait_until(lambda: site.get("/studies").status == 200, 20, "its place")
