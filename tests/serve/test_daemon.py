"""The whole daemon as its users run it: real senders, a real PACS, real kills."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film

pytestmark = pytest.mark.peer


def store(port: int, *paths: Path) -> list[Path]:
    """Send with DCMTK; returns those that were answered with success."""
    arguments = [
        peers.require("storescu"),
        "-v",
        "-aec",
        "SPINEPACS",
        "127.0.0.1",
        str(port),
        *map(str, paths),
    ]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    answers = [line for line in result.stderr.splitlines() if "Received Store Response" in line]
    return [path for path, line in zip(paths, answers, strict=False) if "Success" in line]


def write_films(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    return [films.write(film(number), folder / f"{number}.dcm") for number in range(count)]


def delivered(scp: peers.StoreScp) -> Counter[tuple[str, str]]:
    """How often each kind of object came for each study."""
    got = [dcmread(path, stop_before_pixels=True) for path in scp.received()]
    return Counter((str(dataset.StudyInstanceUID), str(dataset.Modality)) for dataset in got)


def test_from_orthanc_and_back_into_the_same_study(tmp_path):
    """What a PACS administrator sees: store to spinepacs, and three new series turn up beside the film."""
    with (
        peers.orthanc(tmp_path) as orthanc,
        daemon(tmp_path, [destination(orthanc.dicom_port)]) as running,
    ):
        running.start()
        orthanc.add_modality("spinepacs", "SPINEPACS", running.port)
        sent = films.write(film(1), tmp_path / "film.dcm")
        instance = orthanc.post("/instances", sent.read_bytes())
        running.wait_ready()

        orthanc.post("/modalities/spinepacs/store", instance["ID"])
        peers.wait_until(lambda: len(orthanc.sop_uids()) == 4, 60, "film, SEG, SR and picture")

        (study,) = orthanc.get("/studies?expand")
        series = [orthanc.get(f"/series/{uid}")["MainDicomTags"]["Modality"] for uid in study["Series"]]
        assert Counter(series) == {"DX": 1, "SEG": 1, "SR": 1, "OT": 1}
        peers.wait_until(lambda: running.states() == {"delivered": 1}, what="the ledger")

        status, metrics = running.http("/metrics")
        assert status == 200
        for line in (
            "spinepacs_received_total 1.0",
            'spinepacs_studies{state="delivered"} 1.0',
            'spinepacs_outbox{destination="pacs",state="sent"} 3.0',
            'spinepacs_process_up{process="listener-1"} 1.0',
            'spinepacs_step_seconds_count{step="segment"} 1.0',
            "spinepacs_ledger_up 1.0",
        ):
            assert line in metrics.splitlines()
        assert running.http("/healthz") == (200, "ok\n")
        assert running.terminate() == 0
        assert not peers.listens(running.port)


def test_watched_folder_and_refusals_without_any_destination(tmp_path):
    watched = tmp_path / "watched"
    watched.mkdir()
    with daemon(tmp_path, watch={"folder": str(watched)}) as running:
        films.write(film(1), watched / "spine.dcm")
        films.write(film(2, BodyPartExamined="CHEST", StudyDescription="Chest", SeriesDescription="pa",
                         AnatomicRegionSequence=None), watched / "chest.dcm")  # fmt: skip
        running.start()
        peers.wait_until(lambda: running.log.exists() and done(running), 60, "both studies")
        assert sorted(path.name for path in (watched / "done").iterdir()) == ["chest.dcm", "spine.dcm"]
        assert running.terminate() == 0


def test_a_watched_share_that_is_not_mounted_is_said_and_does_not_stop_the_listener(tmp_path):
    share = tmp_path / "share"
    with daemon(tmp_path, watch={"folder": str(share)}) as running:
        running.start()
        peers.wait_until(lambda: peers.listens(running.port), 60, "the listener")
        waits = "the watcher waits for something that is away: see the log"
        peers.wait_until(
            lambda: json.loads(running.http("/readyz")[1] or "{}").get("watcher") == waits, 60, "the word"
        )
        assert running.http("/readyz")[0] == 503
        assert f"watch.folder {share} is not there" in running.log.read_text()
        assert 'spinepacs_process_up{process="watcher"} 0.0' in running.http("/metrics")[1]
        assert not share.exists()
        share.mkdir()
        (share / "letter.txt").write_text("Dear colleague, " * 20)
        running.wait_ready()
        said = 'spinepacs_folder_failed{reason_code="NOT_DICOM"} 1.0'
        peers.wait_until(lambda: said in running.http("/metrics")[1], 30, "the letter in failed/")
        assert running.terminate() == 0


def done(running: Daemon) -> bool:
    return running.states() == {"delivered": 1, "refused": 1}


def test_a_second_daemon_on_the_same_spool_is_refused(tmp_path):
    with daemon(tmp_path) as running:
        running.start()
        running.wait_ready()
        running.start()
        assert running.process.wait(30) == 2
        assert "another spinepacs daemon works on" in running.log.read_text()
        running.processes.pop()
        assert running.http("/readyz")[0] == 200
        assert running.terminate() == 0


def test_a_taken_port_ends_the_start_and_is_named(tmp_path):
    with daemon(tmp_path) as running, socket.create_server(("127.0.0.1", running.port)):
        running.start()
        assert running.process.wait(30) == 2
        assert f"cannot listen on 127.0.0.1 port {running.port}" in running.log.read_text()


def test_a_broken_model_is_said_and_images_are_received_all_the_same(tmp_path):
    sent = write_films(tmp_path / "films", 1)
    with daemon(tmp_path) as running:
        with (tmp_path / "model" / "model.onnx").open("ab") as model:
            model.write(b"x")
        running.start()
        peers.wait_until(lambda: "no worker: " in running.log.read_text(), 60, "the reason in the log")
        peers.wait_until(lambda: peers.listens(running.port), what="the listener")
        why = json.loads(running.http("/readyz")[1])["model"]
        assert why.startswith(f"no worker has a model loaded: {tmp_path / 'model' / 'model.onnx'}: ")
        assert store(running.port, *sent) == sent
        assert running.terminate() == 0
        with running.ledger() as ledger:
            assert len(ledger.unregistered(10)) == 1


def test_kill_of_workers_and_parts_under_load_loses_nothing(tmp_path):
    sent = write_films(tmp_path / "films", 6)
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        daemon(tmp_path, [destination(scp.port)], work={"maximum_attempts": 5}) as running,
    ):
        running.start()
        running.wait_ready()
        assert store(running.port, *sent) == sent
        for part in ("worker-1", "delivery", "listener-1", "listener-2"):
            os.kill(running.pids(part)[-1], signal.SIGKILL)
            peers.wait_until(lambda part=part: len(running.pids(part)) == 2, 30, f"a new {part}")
        peers.wait_until(lambda: running.states() == {"delivered": 6}, 60, "six studies")
        assert running.terminate() == 0
        objects = delivered(scp)
        assert set(objects.values()) == {1}
        assert Counter(modality for _, modality in objects) == {"SEG": 6, "SR": 6, "OT": 6}


def test_kill_of_the_whole_daemon_loses_nothing_that_was_acknowledged(tmp_path):
    sent = write_films(tmp_path / "films", 6)
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        daemon(tmp_path, [destination(scp.port)], work={"maximum_attempts": 5}) as running,
    ):
        acknowledged: list[Path] = []
        for batch in (sent[:3], sent[3:]):
            running.start()
            running.wait_ready()
            acknowledged += store(running.port, *batch)
            peers.wait_until(lambda: "working" in running.states(), 30, "work in hand")
            running.kill()
        running.start()
        peers.wait_until(lambda: running.states() == {"delivered": 6}, 60, "six studies")
        assert running.terminate() == 0

        assert acknowledged == sent
        assert {study for study, _ in delivered(scp)} == {
            str(dcmread(path).StudyInstanceUID) for path in sent
        }
        assert Counter(modality for _, modality in delivered(scp)) == {"SEG": 6, "SR": 6, "OT": 6}


def test_a_port_that_an_orphan_holds_for_a_moment_is_waited_for(tmp_path):
    """As a child that was just being started when its supervisor was killed."""
    with daemon(tmp_path) as running:
        with socket.create_server(("127.0.0.1", running.port)):
            running.start()
            time.sleep(5)
            assert running.process.poll() is None
        running.wait_ready()
        assert running.terminate() == 0
