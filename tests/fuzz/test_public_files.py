"""Every file of pydicom and pydicom-data, through ``spinepacs process`` and by C-STORE into a daemon."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pydicom.data
import pytest
from pydicom.filereader import read_preamble
from sqlalchemy import select

from spinepacs.dicom.reading.parse import uid
from spinepacs.dicom.reading.pixels import DECODABLE_TRANSFER_SYNTAXES
from spinepacs.store.records import ArrivalState
from spinepacs.store.tables import arrivals, readings, studies
from tests import daemons, films, models, peers
from tests.fuzz import upper
from tests.fuzz.child import FOUND
from tests.fuzz.pdu import _images
from tests.fuzz.upper import P_DATA, RELEASE, command, context, pdu, request, value

ROOTS = (Path(pydicom.data.__file__).parent, films.pydicom_data())
FILES = [
    path for root in ROOTS for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".pyc"
]
"""277 with pydicom 3.0 and pydicom-data 1.0."""
_PIECE_BYTES = 100_000
NOT_FILMS = frozenset({"NOT_DICOM", "DICOMDIR", "ARCHIVE", "PICTURE_FORMAT"})


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Outcome of each file after one run over both folders."""
    folder = tmp_path_factory.mktemp("process")
    model = models.write_model(folder / "model", daemons.PHANTOM)
    arguments = [
        "process",
        *map(str, FILES),
        "--out",
        str(folder / "out"),
        "--model",
        str(model),
        "--threads",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "spinepacs", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, "what a file is at fault for is refused, as in the daemon"
    outcomes = {entry["film"]: "READ" for entry in json.loads((folder / "out/readings.json").read_text())}
    problems = re.findall(r"^(.+?): ([A-Z_]+): (.+)$", done.stderr, re.MULTILINE)
    outcomes |= {path: code for path, code, reason in problems if reason}
    print(Counter(outcomes.values()))
    return outcomes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_process_gives_every_file_an_outcome(processed: dict[str, str], path: Path) -> None:
    outcome = processed[str(path)]
    assert outcome not in (*FOUND, "NOT_ENCODED")
    assert (outcome in NOT_FILMS) == (path.read_bytes()[128:132] != b"DICM" or "DICOMDIR" in path.name)


@pytest.mark.peer
def test_a_daemon_gives_every_image_that_it_acknowledged_an_outcome(tmp_path: Path) -> None:
    selection = {
        "modalities": ["CR", "DX", "RF", "XA", "CT", "MR", "US", "OT", "NM", "SC", "MG", "PT", ""],
        "body_parts": [""],
        "descriptions": ["."],
    }
    work = {"workers": 2, "poll_s": 0.05, "retry_wait_s": 0.1, "threads_per_worker": 1, "time_limit_s": 60}
    with daemons.daemon(tmp_path, selection=selection, work=work) as daemon:
        daemon.start()
        daemon.wait_ready()
        sent = [_sop_uid(path) or f"1.2.826.7.{number}" for number, path in enumerate(FILES)]
        assert _sent(daemon.port, sent) == sent
        peers.wait_until(lambda: _is_done(daemon), 120, f"an outcome for each; see {daemon.log}")
        with daemon.ledger() as ledger:
            arrived = ledger.rows(select(arrivals.c.sop_uid, arrivals.c.state, arrivals.c.reason_code))
            ended = Counter(row["state"] for row in ledger.rows(select(studies.c.state)))
            read = ledger.rows(select(readings))
        assert daemon.terminate() == 0
    assert {row["sop_uid"] for row in arrived} == set(sent)
    print(Counter(f"{row['state']} {row['reason_code']}" for row in arrived), ended, len(read))
    assert set(ended) <= {"recorded", "delivered", "refused"}
    assert not [row for row in arrived if row["reason_code"] in (*FOUND, "HEADER_KILLS_READER")]
    assert "Traceback" not in daemon.log.read_text()
    assert "defect" not in daemon.log.read_text()


def _is_done(daemon: daemons.Daemon) -> bool:
    with daemon.ledger() as ledger:
        counts = ledger.counts()
    waiting = {"arriving", "ready", "working"} & set(counts.studies)
    return not waiting and not counts.arrivals.get(ArrivalState.RECEIVED)


def _sent(port: int, sop_uids: list[str]) -> list[str]:
    """Send the bytes of all files, whatever they are, as radiographs; the SOP UIDs that were acknowledged."""
    numbers = {syntax: 2 * at + 1 for at, syntax in enumerate(DECODABLE_TRANSFER_SYNTAXES)}
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            request(*[context(number, upper.CR, syntax) for syntax, number in numbers.items()])
        )
        assert connection.recv(1 << 16)[:1] == b"\x02"
        for sop_uid, path in zip(sop_uids, FILES, strict=True):
            syntax, data = _dataset(path)
            names = command(SOPInstance=sop_uid.encode() + b"\0" * (len(sop_uid) % 2))
            connection.sendall(pdu(P_DATA, value(numbers[syntax], 3, names)))
            for at in range(0, len(data) or 1, _PIECE_BYTES):
                last = 2 if at + _PIECE_BYTES >= len(data) else 0
                connection.sendall(pdu(P_DATA, value(numbers[syntax], last, data[at : at + _PIECE_BYTES])))
        received = b""
        while _images(received).count(b"\n") < len(sop_uids) and (piece := connection.recv(1 << 16)):
            received += piece
        connection.sendall(RELEASE)
    return _images(received).decode().split()


def _sop_uid(path: Path) -> str:
    """The file's own; empty where it has none that a sender could name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return uid(pydicom.dcmread(path, stop_before_pixels=True), "SOPInstanceUID")
        except Exception:  # no film
            return ""


def _dataset(path: Path) -> tuple[str, bytes]:
    """Transfer syntax and what follows the file meta; all of a file that has none, as explicit little endian."""
    with path.open("rb") as file:
        try:
            read_preamble(file, force=False)
            meta = pydicom.filereader._read_file_meta_info(file)
            syntax = str(meta.TransferSyntaxUID)
        except Exception:  # damaged in its own way
            file.seek(0)
            syntax = ""
        data = file.read()
    return (syntax if syntax in DECODABLE_TRANSFER_SYNTAXES else DECODABLE_TRANSFER_SYNTAXES[0]), data
