"""No patient identity where none belongs: marked films go through real processes, then everything is searched.

Every text of a patient, physician or hospital in these films holds :data:`MARK`. Where identity is kept on purpose
(docs/reliability.md lists it) the mark is looked for too, so that a search that finds nothing has looked at something.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from sqlalchemy import MetaData, create_engine, select

from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film

MARK = "qz7"
BIRTH_DATES = ("19010203", "1901-02-03")
IDENTITY: dict[str, Any] = {
    "PatientName": "Qz7Name^Erika",
    "PatientID": "QZ7ID",
    "PatientBirthDate": "19010203",
    "OtherPatientNames": "Qz7Maiden^Erika",
    "PatientAddress": "Qz7Street 1",
    "PatientTelephoneNumbers": "+49 qz7",
    "PatientComments": "Qz7Comment",
    "AccessionNumber": "QZ7ACC",
    "StudyID": "QZ7STUDY",
    "InstitutionName": "Qz7Hospital",
    "InstitutionAddress": "Qz7Road 2",
    "StationName": "QZ7STATION",
    "ReferringPhysicianName": "Qz7Physician^Ernst",
    "OperatorsName": "Qz7Operator^Olga",
    "RequestingPhysician": "Qz7Asker^Anna",
    "ImageComments": "Qz7Image",
    "StudyDescription": "Spine of Qz7Name",
}
ON_PURPOSE = {
    *(
        f"studies.{name}"
        for name in ("patient_id", "accession_number", "study_description", "modality", "body_part")
    ),
    *(f"arrivals.{name}" for name in ("patient_id", "accession_number", "modality", "body_part")),
    *(f"{table}.file_name" for table in ("arrivals", "failed_files")),
}
"""Columns that hold what the header says, or a file is called, because people look for it there."""

_WRONG = (
    (
        "PatientBirthDate",
        "PatientAge",
        "PatientSex",
        "PatientWeight",
        "StudyDate",
        "StudyTime",
        "ContentDate",
    ),
    (
        "WindowCenter",
        "RescaleSlope",
        "ImagerPixelSpacing",
        "SeriesNumber",
        "InstanceNumber",
        "FrameOfReferenceUID",
    ),
    ("PhotometricInterpretation",),
    ("SeriesInstanceUID",),
    ("Rows",),
)
"""Elements whose readers expect a number, a date, a UID or a code, and which get a name: those of one film."""

# pynetdicom does not close its socket where a connection was refused; it goes when its owner is collected.
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]


def marked(number: int | str, **elements: Any) -> films.FileDataset:
    made = film(number, **{**IDENTITY, **elements})
    made.RequestAttributesSequence = [Dataset()]
    made.RequestAttributesSequence[0].ScheduledProcedureStepDescription = "Qz7Step"
    made.private_block(0x0011, "QZ7 PRIVATE", create=True).add_new(0x01, "LO", "Qz7Private")
    return made


def hostile_films(folder: Path) -> list[Path]:
    """Good, refused, damaged, conflicting films; the mark also where a reader stumbles over it."""
    folder.mkdir()
    made = {
        "good": marked("good"),
        "chest": marked("chest", BodyPartExamined="CHEST", StudyDescription="Qz7", SeriesDescription="Qz7",
                        AnatomicRegionSequence=None),
        "odd-modality": marked("odd-modality", Modality="QZ7"),
        "odd-part": marked("odd-part", BodyPartExamined="QZ7", AnatomicRegionSequence=None, SeriesDescription="-",
                           StudyDescription="-", RequestAttributesSequence=None),
        "odd-uid": marked("odd-uid", StudyInstanceUID=b"Qz7.1.2 "),
        "conflict": marked("good", PatientName="Qz7Corrected^Erika"),
    }  # fmt: skip
    for number, keywords in enumerate(_WRONG):
        wrong = dict.fromkeys(keywords, b"Qz7\\\xff\xfeQz7 ")
        made[f"wrong-{number}"] = marked(f"wrong-{number}", **wrong)
    paths = [films.write(dataset, folder / f"{name}.dcm") for name, dataset in made.items()]
    charset = films.write(marked("charset"), folder / "charset.dcm")
    charset.write_bytes(charset.read_bytes().replace(b"ISO_IR 100", b"QZ7_IR 100"))
    cut = [films.write(marked(f"cut-{share}"), folder / f"cut-{share}.dcm") for share in (0.001, 0.5)]
    mismatch = films.write(marked("mismatch"), folder / "mismatch.dcm")
    mismatch.write_bytes(
        mismatch.read_bytes().replace(
            marked("mismatch").SOPInstanceUID.encode(), b"1.2.3".ljust(64, b"\0"), 1
        )
    )
    return [*paths, mismatch, charset, *(films.truncate(path, float(path.stem[4:])) for path in cut)]


def send(port: int, paths: list[Path]) -> list[int]:
    """Send files byte for byte; statuses (−1: the association was lost)."""
    statuses = []
    for path in paths:
        ae = AE("MODALITY")
        association = ae.associate(
            "127.0.0.1", port, [build_context(_CLASS, ExplicitVRLittleEndian)], ae_title="SPINEPACS"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = association.send_c_store(path).get("Status", -1)
        statuses.append(int(status))
        association.release()
    return statuses


_CLASS = films.make_dx().SOPClassUID


def rubbish(port: int) -> None:
    """What is no DICOM at all, and an association request whose titles and fields are full of marks."""
    request = b"\x01\x00" + struct.pack(">I", 300) + b"\x00\x01\x00\x00" + b"Qz7".ljust(296, b"Q")
    for data in (b"GET /Qz7Name HTTP/1.1\r\n\r\n", b"Qz7" * 1000, request):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            line.sendall(data)


@contextmanager
def naming_scp() -> Iterator[int]:
    """A PACS that refuses everything and names the patient in its comment."""

    def refuse(event: evt.Event) -> Dataset:
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xC001, "Qz7Name^Erika is known as QZ7ID"
        return answer

    ae = AE("NAMES")
    ae.supported_contexts = [build_context(uid) for uid in _RESULTS]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, refuse)])
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


_RESULTS = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.7",
)


def drop_pictures(folder: Path) -> None:
    """Pictures and other files with identity in their names and their metadata."""
    folder.mkdir()
    grey = Image.fromarray((films.spine_like() >> 4).astype(np.uint8))
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", "Qz7Name")
    grey.save(folder / "Qz7Name.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x010E] = "Qz7Name"
    grey.save(folder / "Qz7Name.jpg", exif=exif)
    (folder / "broken Qz7.jpg").write_bytes((folder / "Qz7Name.jpg").read_bytes()[:300])
    (folder / "Qz7 notes.txt").write_text("Qz7Name")
    films.write(marked("dropped"), folder / "Qz7Name.dcm")


def requests(port: int) -> str:
    """Everything that the health server says, to good and to bad questions."""
    said = []
    for method, path in (
        ("GET", "/metrics"), ("GET", "/readyz"), ("GET", "/healthz"), ("GET", "/nothing"), ("POST", "/metrics?n=Qz7"),
        ("GET", "/metrics?patient=Qz7Name"), ("GET", "/Qz7/../../etc/passwd"), ("QZ7", "/"),
    ):  # fmt: skip
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        line.request(method, path)
        said.append(line.getresponse().read().decode())
        line.close()
    return "\n".join(said)


def columns_with_mark(url: str) -> set[str]:
    """``table.column`` of every column of the database in which a mark is found."""
    engine = create_engine(url)
    metadata = MetaData()
    with engine.connect() as connection:
        metadata.reflect(connection)
        found = {
            f"{table.name}.{column}"
            for table in metadata.tables.values()
            for row in connection.execute(select(table)).mappings()
            for column, value in row.items()
            if has_mark(str(value))
        }
    engine.dispose()
    return found


def has_mark(text: str) -> bool:
    return MARK in text.lower() or any(date in text for date in BIRTH_DATES)


def quiet_lines(text: str) -> list[str]:
    """Lines with a mark; none is what every test asks for."""
    return [line for line in text.splitlines() if has_mark(line)]


def settled(running: Daemon) -> bool:
    """Nothing is left to do, as far as the destinations allow."""
    with running.ledger() as ledger:
        counts = ledger.counts()
    return (
        not set(counts.studies) & {"arriving", "ready", "working"}
        and "received" not in counts.arrivals
        and counts.arrivals.get("conflict", 0) > 0
        and ("names", "pending") not in counts.outbox
        and ("names", "failed") in counts.outbox
        and ("pacs", "pending") not in counts.outbox
    )


def test_serve_keeps_identities_where_they_belong(tmp_path: Path):
    watched = tmp_path / "watched"
    drop_pictures(watched)
    sent = hostile_films(tmp_path / "sent")
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        naming_scp() as naming_port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog,
        daemon(
            tmp_path,
            [
                destination(scp.port),
                destination(naming_port, "names", send=["SR"]),
                destination(peers.free_port(), "away", send=["SR"], timeout_s=1),
            ],
            output={"overlay_enabled": False},
            watch={"folder": str(watched)},
            log={"level": "DEBUG"},
            audit={"syslog": f"udp://127.0.0.1:{bound(syslog)}"},
        ) as running,
    ):
        running.start()
        running.wait_ready()
        assert set(send(running.port, sent)) <= {0x0000, 0xC000}
        rubbish(running.port)
        peers.wait_until(lambda: len(list(watched.glob("*/*"))) >= 5, 60, "the watched folder")
        peers.wait_until(lambda: settled(running), 120, f"everything read; see {running.log}")
        said = requests(running.settings["health"]["port"])
        pid = running.process.pid
        pids = [pid, *peers.children(pid), *peers.grandchildren(pid)]
        assert len(pids) > 4
        assert {core_dump(pid) for pid in pids} == {("0", "0", "00000000")}
        os.kill(running.pids("worker-1")[-1], signal.SIGSEGV)
        peers.wait_until(lambda: len(running.pids("worker-1")) == 2, 30, "another worker")
        listed = cli("queue", "--config", str(running.config))
        assert running.terminate() == 0

        log = running.log.read_text()
        assert "association accepted" in log
        assert quiet_lines(log) == []
        assert quiet_lines(said) == []
        assert "spinepacs_received_total" in said
        trail = cli("audit", "--config", str(running.config))
        for told in (listed, trail):
            assert told.returncode == 0
            # By its accession number the RIS knows a study; it is shown on purpose.
            text = (told.stdout + told.stderr).replace(IDENTITY["AccessionNumber"], "")
            assert quiet_lines(text) == []
        assert {
            "started",
            "received",
            "refused",
            "unreadable",
            "read",
            "made",
            "sent",
            "not-sent",
            "stopped",
        } <= {line.split(",")[2] for line in trail.stdout.splitlines()}
        assert b"DICOM+RFC3881" in syslog.recv(65536)
        names = [str(path.relative_to(tmp_path)) for path in (tmp_path / "spool").rglob("*")]
        assert len(names) > 256 + len(sent)
        assert not [name for name in names if has_mark(name)]
        reasons = [path.read_text() for path in watched.glob("failed/*.reason.txt")]
        assert len(reasons) >= 2
        assert not [reason for reason in reasons if has_mark(reason)]
        assert modes(tmp_path / "spool", *tmp_path.glob("ledger.sqlite*")) == {
            ("folder", 0o700),
            ("file", 0o600),
        }
        assert columns_with_mark(running.settings["storage"]["database_url"]) == ON_PURPOSE
        assert any(MARK in path.read_bytes().decode("latin-1").lower() for path in scp.received())


def test_process_tells_no_identity_beside_its_objects(tmp_path: Path):
    hostile_films(tmp_path / "films")
    out = tmp_path / "out"
    ended = cli("process", str(tmp_path / "films"), "--out", str(out), "--threads", "1", "--page")
    assert ended.returncode == 0
    assert " 0 refused" not in ended.stdout
    assert quiet_lines(ended.stdout + ended.stderr) == []
    texts = [path for path in out.iterdir() if path.suffix in (".json", ".csv", ".html")]
    assert {path.suffix for path in texts} == {".json", ".csv", ".html"}
    shown = {
        path.name: re.sub(r"base64,[\w+/=]+", "", path.read_text()) for path in texts
    }  # pictures, by chance
    assert not [name for name, text in shown.items() if has_mark(text)]
    assert not [path.name for path in out.iterdir() if has_mark(path.name)]
    assert any(MARK in path.read_bytes().decode("latin-1").lower() for path in out.glob("*.sr.dcm"))


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spinepacs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def modes(*paths: Path) -> set[tuple[str, int]]:
    """Permissions of these and of everything below them."""
    found = [inner for path in paths for inner in (path, *path.rglob("*"))]
    return {("folder" if path.is_dir() else "file", stat.S_IMODE(path.stat().st_mode)) for path in found}


def bound(syslog: socket.socket) -> int:
    syslog.bind(("127.0.0.1", 0))
    syslog.settimeout(5)
    return int(syslog.getsockname()[1])


def core_dump(pid: int) -> tuple[str, ...]:
    """Soft and hard limit of core files of a process, and which of its memory would be in one."""
    (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line)
    return (*line.split()[4:6], Path(f"/proc/{pid}/coredump_filter").read_text().strip())
