"""Priors by a real daemon from a real Orthanc, in both ways: a film comes, and the patient's course is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from sqlalchemy import text

from spinepacs.store.tables import arrivals, audit_events, outbox, readings
from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film
from tests.serve.test_campaign import column
from tests.test_privacy import send

pytestmark = pytest.mark.peer

OTHER = {"PatientID": f"{films.PATIENT_ID}0"}
COURSE = text(
    "SELECT DISTINCT study_date FROM disc_follow_up WHERE is_current AND patient_id = 'SECRET-4711' ORDER BY 1"
)


def written(folder: Path) -> dict[str, Path]:
    """A study of today; two earlier ones; one of before the years that are asked for, a CT, and another patient's."""
    folder.mkdir()
    made = {
        "now": film(1, StudyDate="20261120"),
        "2024": film(2, StudyDate="20240301"),
        "2022": film(3, StudyDate="20220301"),
        "2001": film(4, StudyDate="20010301"),
        "ct": film(5, StudyDate="20240401", Modality="CT"),
        "other": film(6, StudyDate="20240301", **OTHER),
    }
    return {name: films.write(each, folder / f"{name}.dcm") for name, each in made.items()}


def course(running: Daemon) -> list[str]:
    """Days of the studies in which the patient's discs are followed."""
    with running.ledger() as ledger:
        return [str(row["study_date"])[:10] for row in ledger.rows(COURSE)]  # type: ignore[arg-type]


def waiting(running: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.command("status", "--format", "json", code=None))["priors"]
    return found


def uid(path: Path) -> str:
    return str(dcmread(path).SOPInstanceUID)


THREE = ["2022-03-01", "2024-03-01", "2026-11-20"]


def test_the_archive_is_away_the_daemon_is_killed_and_the_course_is_there(tmp_path: Path) -> None:
    """By DICOMweb; what was fetched stays in the database, and only the study that has come is delivered."""
    made, port = written(tmp_path / "films"), peers.free_port()
    priors = {"enabled": True, "dicomweb": f"http://127.0.0.1:{port}/dicom-web"}
    pacs = destination(peers.free_port())
    with daemon(tmp_path, [pacs], priors=priors) as running:
        running.start()
        running.wait_ready()
        assert send(running.port, [made["now"]]) == [0]
        peers.wait_until(lambda: bool(waiting(running)["trouble"]), 60, "an archive that is missed")
        assert waiting(running)["waiting"] == 1
        listed = running.command("queue")
        assert "priors" in listed
        assert "does not answer" in listed
        running.kill()
        with peers.orthanc(tmp_path, dicomweb=True, http_port=port) as archive:
            for name in made:  # first: while it was filled it could be asked, and would know of nothing
                archive.post("/instances", made[name].read_bytes())
            running.start()
            running.wait_ready()
            peers.wait_until(lambda: course(running) == THREE, 90, f"three studies; see {running.log}")
            assert waiting(running) == {"waiting": 0, "failed": 0, "trouble": ""}
            assert "answers" in running.check(code=1)
        held = {"now", "2024", "2022"}
        assert set(column(running, arrivals.c.sop_uid)) == {uid(made[name]) for name in held}
        assert len(set(column(running, outbox.c.study_uid))) == 1
        assert len(column(running, readings.c.sop_uid)) == 3
        assert column(running, audit_events.c.action).count("queried") == 1


def test_by_c_find_and_c_move_with_results_and_nobody_asked_twice(tmp_path: Path) -> None:
    """A film of another study of the same patient that comes later finds the rest of them known."""
    made, port = written(tmp_path / "films"), peers.free_port()
    with peers.orthanc(tmp_path, DicomModalities={"us": ["SPINEPACS", "127.0.0.1", port]}) as archive:
        place = f"ORTHANC@127.0.0.1:{archive.dicom_port}"
        priors = {"enabled": True, "ae": place, "deliver": True, "maximum_studies": 2}
        with daemon(
            tmp_path, [destination(peers.free_port())], listener={"port": port}, priors=priors
        ) as running:
            for name in made:
                archive.post("/instances", made[name].read_bytes())
            running.start()
            running.wait_ready()
            assert send(running.port, [made["2024"]]) == [0]
            peers.wait_until(lambda: len(course(running)) == 2, 90, f"two studies; see {running.log}")
            assert send(running.port, [made["now"]]) == [0]
            peers.wait_until(lambda: course(running) == THREE, 90, f"three studies; see {running.log}")
            asked = lambda: column(running, audit_events.c.action).count("queried")  # noqa: E731
            peers.wait_until(lambda: asked() == 2, 30, "the second question")
            assert uid(made["other"]) not in column(running, arrivals.c.sop_uid)
            assert len(set(column(running, outbox.c.study_uid))) == 3
            assert len(column(running, readings.c.sop_uid)) == 3
