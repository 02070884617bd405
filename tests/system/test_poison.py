"""Films on which a decoder spins, crashes or eats memory: each costs itself, the others are read."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from spinepacs.store.tables import arrivals, studies
from tests import films, peers
from tests.daemons import daemon
from tests.system import poisoned
from tests.system.load import Load, small_film

pytestmark = pytest.mark.peer
REASONS = {
    poisoned.SPIN: "TIME_LIMIT",
    poisoned.CRASH: "WORKER_DIED",
    poisoned.EAT: "MEMORY_LIMIT",
}


def test_a_poisoned_film_fails_with_its_reason_within_its_limits_and_the_rest_goes_on(tmp_path):
    work = {"time_limit_s": 10, "memory_limit_mb": 1000, "maximum_attempts": 1}
    good = {number: small_film(2 * number) for number in range(10, 13)}
    bad = {poison: small_film(2 * number) for number, poison in enumerate([*REASONS, poisoned.HEADER])}
    for poison, film in bad.items():
        film.ImageComments = poison
    with daemon(tmp_path, work=work) as running:
        running.module = "tests.system.poisoned"
        running.start()
        running.wait_ready()
        sender = Load(tmp_path / "films", running.port, None)
        for name, film in [*bad.items(), *good.items()]:
            path = films.write(film, tmp_path / f"{name}.dcm")
            assert sender.store([path]) == [path]
        peers.wait_until(lambda: running.states() == {"failed": 3, "delivered": 3}, 150, "all of them")
        with running.ledger() as ledger:
            rows = ledger.rows(select(studies.c.study_uid, studies.c.reason_code))
            unread = ledger.rows(
                select(arrivals.c.sop_uid, arrivals.c.reason_code).where(arrivals.c.study_uid.is_(None))
            )
        assert running.terminate() == 0
    reasons = {row["study_uid"]: row["reason_code"] for row in rows}
    assert {poison: reasons[str(bad[poison].StudyInstanceUID)] for poison in REASONS} == REASONS
    assert [(row["sop_uid"], row["reason_code"]) for row in unread] == [
        (str(bad[poisoned.HEADER].SOPInstanceUID), "HEADER_KILLS_READER")
    ]
