"""Searching and fetching: whatever is asked has an answer, and who takes none of it is cut off."""

from __future__ import annotations

import re
import socket
from io import BytesIO
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless
from sqlalchemy import select

from spinepacs.dicom.reading.header import header_of
from spinepacs.dicom.reading.parse import parse
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import audit_events
from tests import peers
from tests.daemons import film
from tests.dicomweb.servers import VIEWER, Running, basic, body, part10, serving
from tests.web.consoles import Answer


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
    sections = {"listener": {"network_timeout_s": 6}, "dicomweb": {"maximum_requests": 1}}
    with serving(ledger, spool, **sections) as site:
        path = taken_in(site, large)
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", site.port))
            head = [f"GET /dicom-web{path} HTTP/1.1", "Host: here", f"Authorization: {basic(VIEWER)}", "", ""]
            line.settimeout(20)
            line.sendall("\r\n".join(head).encode())
            # Before anyone else asks, who might be given the one place.
            assert line.recv(12) == b"HTTP/1.1 200"
            assert site.get("/studies").status == 503
            peers.wait_until(lambda: site.get("/studies").status == 200, 20, "its place")


def frame_of(answer: Answer) -> tuple[str, bytes]:
    """Content-Type and content of the one part of an answer."""
    edge = re.search(r"boundary=(\w+)", answer.headers["Content-Type"])
    assert edge
    head, _, rest = answer.body.partition(b"\r\n\r\n")
    return head.decode().partition("Content-Type: ")[2], rest[: -len(f"\r\n--{edge[1]}--\r\n")]


def test_frames_and_files_are_given_as_they_are_stored(site: Running) -> None:
    plain, squeezed = film(1), film(2)
    pixels = squeezed.PixelData
    squeezed.compress(RLELossless)
    syntaxes = {}
    for dataset in (plain, squeezed):
        path = taken_in(site, dataset)
        syntax = syntaxes[path] = str(dataset.file_meta.TransferSyntaxUID)
        answer = site.get(path, Accept="application/dicom")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/dicom")
        back = dcmread(BytesIO(answer.body))
        assert (back.SOPInstanceUID, back.file_meta.TransferSyntaxUID) == (dataset.SOPInstanceUID, syntax)
        assert back.PixelData == dataset.PixelData
        assert site.get(path, Accept=f"application/dicom; transfer-syntax={syntax}").status == 200
        assert (
            site.get(path, Accept="application/dicom; transfer-syntax=1.2.840.10008.1.2.4.70").status == 406
        )
        assert site.get(path.rpartition("/instances")[0], Accept="application/dicom").status == 406, (
            "may be several"
        )
        accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
        kind, frame = frame_of(site.get(f"{path}/frames/1", Accept=accept))
        if dataset is plain:
            assert (kind, frame) == (f"application/octet-stream; transfer-syntax={syntax}", plain.PixelData)
        else:
            assert kind == f"image/dicom-rle; transfer-syntax={syntax}"
            assert next(generate_frames(squeezed.PixelData, number_of_frames=1)) == frame
            assert len(frame) < len(pixels)
            narrow = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
            assert site.get(f"{path}/frames/1", Accept=narrow).status == 406
    assert len(set(syntaxes.values())) == 2


def test_frames_are_cut_where_they_begin(site: Running) -> None:
    several = film(1, NumberOfFrames=3)
    several.Rows, several.Columns = 4, 5
    several.PixelData = bytes(range(120))
    path = taken_in(site, several)
    assert frame_of(site.get(f"{path}/frames/2"))[1] == bytes(range(40, 80))
    answer = site.get(f"{path}/frames/3,1")
    assert answer.body.count(b"Content-Type: application/octet-stream") == 2
    assert answer.body.index(bytes(range(80, 120))) < answer.body.index(bytes(range(40)))
    assert site.get(f"{path}/frames/4").status == 404
    short = film(2, NumberOfFrames=2)
    short.Rows, short.Columns = 4, 5
    short.PixelData = bytes(range(60))
    path = taken_in(site, short)
    assert site.get(f"{path}/frames/1").status == 200
    assert site.get(f"{path}/frames/2").status == 406


def test_the_trail_has_what_was_asked_by_and_no_value(site: Running) -> None:
    site.get("/studies?PatientID=SECRET-1&00080050=A1&SECRET^NAME=")
    site.get("/studies")
    rows = site.ledger.rows(select(audit_events).where(audit_events.c.action == "searched"))
    assert [row["detail"] for row in rows] == ["DICOMweb: AccessionNumber, PatientID", "DICOMweb: all"]
