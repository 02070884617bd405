"""Campaigns by a real daemon: from Orthanc by DICOMweb and by C-FIND/C-MOVE, from a folder, and from what is here."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import func, select

from spinepacs.domain.campaign import CampaignState
from spinepacs.settings.shipped import shipped
from spinepacs.store.tables import arrivals, attempts, outbox, readings
from tests import films, peers
from tests.certificates import authority
from tests.daemons import Daemon, daemon, destination, film
from tests.test_privacy import send

pytestmark = pytest.mark.peer

DAYS = ("--since", "2026-01-01", "--until", "2026-01-03")


def status(running: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        running.command("campaign", "status", name, "--format", "json", code=None)
    )
    return found


def state(running: Daemon, name: str) -> str:
    with running.ledger() as ledger:
        return str(ledger.campaigns.named(name).state)


def trouble(running: Daemon, name: str) -> str:
    with running.ledger() as ledger:
        return ledger.campaigns.named(name).trouble


def change(running: Daemon, name: str, to: CampaignState) -> None:
    with running.ledger() as ledger:
        ledger.campaigns.change(name, to)


def done(running: Daemon, name: str) -> dict[str, Any]:
    peers.wait_until(lambda: state(running, name) == "done", 90, f"the end of {name}; see {running.log}")
    return status(running, name)


def column(running: Daemon, of: Any) -> list[Any]:
    with running.ledger() as ledger:
        return [next(iter(row.values())) for row in ledger.rows(select(of))]


def written(tmp_path: Path) -> list[Path]:
    """Three studies: one that is read, one without a vertebra, one whose pixels cannot be decoded."""
    folder = tmp_path / "films"
    folder.mkdir()
    empty = films.make_dx(
        np.full((300, 200), 100, np.uint16), seed="2", study="study-2", BodyPartExamined="LSPINE"
    )
    damaged = films.write(film(3), folder / "3.dcm", "1.2.840.10008.1.2.5")
    data = damaged.read_bytes()
    # The offsets of the RLE segments (PS3.5 G.5), in the second item: the first is the table of frames.
    at = (
        data.index(b"\xfe\xff\x00\xe0", data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00")) + 8)
        + 8
    )
    damaged.write_bytes(data[:at] + b"\xff" * 64 + data[at + 64 :])
    return [films.write(film(1), folder / "1.dcm"), films.write(empty, folder / "2.dcm"), damaged]


@contextmanager
def source(kind: str, tmp_path: Path, made: list[Path], port: int) -> Iterator[tuple[str, ...]]:
    """Where these films are, as the command takes it: their folder, or an Orthanc that knows us."""
    if kind == "folder":
        yield "--from", str(made[0].parent)
        return
    modalities = {"us": ["SPINEPACS", "127.0.0.1", port]}
    with peers.orthanc(tmp_path, dicomweb=True, DicomModalities=modalities) as pacs:
        for path in made:
            pacs.post("/instances", path.read_bytes())
        by_web = ("--dicomweb", f"{pacs.url}/dicom-web")
        yield *(by_web if kind == "dicomweb" else ("--ae", _peer(pacs))), *DAYS


def _peer(pacs: peers.Orthanc) -> str:
    return f"ORTHANC@127.0.0.1:{pacs.dicom_port}"


def test_an_archive_that_speaks_tls_only_in_both_directions(tmp_path: Path) -> None:
    """C-FIND and C-MOVE go out encrypted, and the film comes to a listener that takes nothing else."""
    ours, port = authority(tmp_path), peers.free_port()
    us, them = ours.issue(tmp_path, "spinepacs"), ours.issue(tmp_path, "pacs")
    pacs_tls = {
        "DicomTlsEnabled": True,
        "DicomTlsRemoteCertificateRequired": True,
        "DicomTlsCertificate": str(them.certificate),
        "DicomTlsPrivateKey": str(them.key),
        "DicomTlsTrustedCertificates": str(ours.certificate),
        "DicomModalities": {
            "us": {"AET": "SPINEPACS", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}
        },
    }
    our_tls = {
        "tls_ca": str(ours.certificate),
        "tls_certificate": str(us.certificate),
        "tls_key": str(us.key),
    }
    with peers.orthanc(tmp_path, **pacs_tls) as pacs:
        pacs.post("/instances", films.write(film(1), tmp_path / "1.dcm").read_bytes())
        archives = [{"host": "127.0.0.1", "port": pacs.dicom_port, **our_tls}]
        with daemon(tmp_path, listener={"port": port, "tls": True, **our_tls}, archives=archives) as running:
            running.start()
            running.wait_ready()
            running.command("campaign", "start", "one", "--ae", _peer(pacs), *DAYS)
            assert done(running, "one")["items"] == {"read": 1}


@pytest.mark.parametrize("kind", ["dicomweb", "ae", "folder"])
def test_three_studies_one_refused_and_one_damaged(tmp_path: Path, kind: str) -> None:
    """And a destination that gets nothing: the results are for the database only."""
    made = written(tmp_path)
    port = peers.free_port()
    with (
        source(kind, tmp_path, made, port) as where,
        daemon(tmp_path, [destination(peers.free_port())], listener={"port": port}) as running,
    ):
        running.start()
        running.wait_ready()
        running.command("campaign", "start", "one", *where, "--body-part", "LSPINE")
        found = done(running, "one")
        assert found["items"] == {"read": 1, "refused": 2}
        codes = {reason["reason_code"] for reason in found["reasons"]}
        assert "EMPTY_IMAGE" in codes
        assert len(codes) == 2
        assert set(column(running, arrivals.c.source)) == {"campaign"}
        assert column(running, outbox.c.state) == []
        uid = str(dcmread(made[0]).SOPInstanceUID)
        assert uid in column(running, readings.c.sop_uid)

        # The same film by itself: it is one with the campaign's, byte for byte, and now it is delivered.
        assert send(running.port, made[:1]) == [0]
        peers.wait_until(
            lambda: len(column(running, outbox.c.state)) == 3, 60, f"its results; see {running.log}"
        )
        assert len(column(running, arrivals.c.sha256)) == 3

        # Another campaign over the same: nothing is read twice.
        before = column(running, func.count(attempts.c.attempt_id))
        running.command("campaign", "start", "two", *where, "--body-part", "LSPINE")
        assert done(running, "two")["items"] == {"known": 3}
        assert column(running, func.count(attempts.c.attempt_id)) == before


def test_killed_in_the_middle_and_the_archive_away_and_back(tmp_path: Path) -> None:
    """Each film is read once, whatever dies: the supervisor, the campaign's process, the archive."""
    number = 6
    with (
        peers.orthanc(tmp_path, dicomweb=True) as pacs,
        daemon(tmp_path) as running,
    ):
        for each in range(number):
            pacs.post("/instances", films.write(film(each), tmp_path / "film.dcm").read_bytes())
        running.start()
        running.wait_ready()
        url = f"{pacs.url}/dicom-web"
        running.command("campaign", "start", "long", "--dicomweb", url, *DAYS, "--per-hour", "7200")
        read = lambda: len(column(running, readings.c.reading_id))  # noqa: E731
        peers.wait_until(lambda: read() >= 2, 60, "two films read")
        os.kill(running.pids("campaign")[-1], signal.SIGKILL)
        peers.wait_until(lambda: read() >= 3, 60, "one more, by the next process")
        running.kill()
        pacs.process.kill()
        pacs.process.wait(10)
        running.start()
        running.wait_ready()
        peers.wait_until(lambda: bool(trouble(running, "long")), 60, "an archive that is missed")
        assert "does not answer" in trouble(running, "long")
        settings = pacs.folder / "orthanc.json"
        with peers.running([peers.require("Orthanc"), str(settings)], tmp_path / "again.log", patient=False):
            found = done(running, "long")
        assert found["items"] == {"read": number}
        assert trouble(running, "long") == ""
        assert sorted(column(running, readings.c.sop_uid)) == sorted(set(column(running, readings.c.sop_uid)))
        assert read() == number


def test_pause_resume_cancel_and_hours(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for each in range(6):
        films.write(film(each), folder / f"{each}.dcm")
    with daemon(tmp_path) as running:
        running.start()
        running.wait_ready()
        closed = ("--hours", "00:00-00:01") if not _is_just_past_midnight() else ("--hours", "12:00-12:01")
        running.command("campaign", "start", "shut", "--from", str(folder), *closed)
        running.command("campaign", "start", "slow", "--from", str(folder), "--per-hour", "7200")
        count = lambda: len(column(running, readings.c.reading_id))  # noqa: E731
        peers.wait_until(lambda: count() >= 1, 60, "the first film")
        change(running, "slow", CampaignState.PAUSED)
        assert status(running, "slow")["left"] > 0
        change(running, "slow", CampaignState.RUNNING)
        assert done(running, "slow")["items"] == {"read": 6}
        assert status(running, "shut")["items"] == {}, "not even listed"
        change(running, "shut", CampaignState.CANCELLED)
        assert running.states() == {"delivered": 6}


def _is_just_past_midnight() -> bool:
    from datetime import datetime

    return datetime.now().hour < 1


def test_again_with_another_policy_keeps_both_readings_and_says_what_changed(tmp_path: Path) -> None:
    policy = tmp_path / "grading-2.toml"
    text = shipped("config", "grading.toml").read_text()
    old = next(line for line in text.splitlines() if line.startswith("version"))
    steps = next(line for line in text.splitlines() if line.startswith("stage_from"))
    policy.write_text(
        text.replace(old, 'version = "next"').replace(steps, "stage_from = [0.001, 0.002, 0.003, 0.004]")
    )
    sent = [films.write(film(number), tmp_path / f"{number}.dcm") for number in (1, 2)]
    with (
        peers.dcmtk_storescp(tmp_path) as pacs,
        daemon(tmp_path, [destination(pacs.port, "dcmtk")]) as running,
    ):
        running.start()
        running.wait_ready()
        assert send(running.port, sent) == [0, 0]
        peers.wait_until(
            lambda: running.states() == {"delivered": 2}, 60, f"two delivered; see {running.log}"
        )
        running.command("campaign", "start", "next", "--again", "--policy", str(policy))
        assert done(running, "next")["items"] == {"read": 2}
        assert sorted(set(column(running, readings.c.policy_version))) == sorted({old.split('"')[1], "next"})
        assert len(pacs.received()) == 6
        report = running.command("campaign", "report", "next")
        assert "2 films were read before" in report
        out = tmp_path / "changes.csv"
        running.command("campaign", "report", "next", "--csv", "--out", str(out))
        lines = out.read_text().splitlines()
        assert lines[0].startswith("study_uid,sop_uid,region,what,place")
        assert any(",lumbar,disc_height_loss," in line and ",higher," in line for line in lines[1:]), lines
