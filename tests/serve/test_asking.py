"""Asking for priors, one step at a time, with an archive that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from spinepacs.domain.campaign import Kind
from spinepacs.domain.priors import PRIORS, Ask, PatientStudy
from spinepacs.exchange.archive import ArchiveAway, NotGiven
from spinepacs.serve import campaign as runner_module
from spinepacs.serve.campaign import Runner
from spinepacs.serve.priors import FETCHED_FIRST
from spinepacs.serve.supplies import ArchiveSupply
from spinepacs.settings.priors import PriorsSettings
from spinepacs.settings.sections import WorkSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.progress import progress_of
from spinepacs.store.spool import Spool
from tests.serve.test_runner import Turn
from tests.store.makers import VERSIONS
from tests.store.test_priors import NEW, come

URL = "http://127.0.0.1:1/dicom-web"


@dataclass
class Scripted:
    """Answers, or what it raises, one for each question."""

    answers: list[Any]
    asked: list[Ask] = field(default_factory=list)

    def of_patient(self, ask: Ask, days: tuple[date, date]) -> list[PatientStudy]:
        self.asked.append(ask)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [PatientStudy(uid, date(2020, 1, 1), patient_id) for uid, patient_id in answer]

    def films(self, *_: Any) -> list[Any]:
        return []


class Supply(ArchiveSupply):
    """With nothing to close."""

    def fetch(self, *_: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Bench:
    runner: Runner
    archive: Scripted
    ledger: Ledger
    clock: list[float]

    def step(self, number: int = 1) -> None:
        for _ in range(number):
            self.runner.step(self.ledger.campaigns.named(PRIORS))

    def state(self) -> tuple[str, str, int]:
        rows = self.ledger.priors.waiting()
        return (rows[0]["state"], rows[0]["reason_code"], rows[0]["attempts"]) if rows else ("asked", "", 0)


@pytest.fixture
def bench(ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    def make(*answers: Any, **priors: Any) -> Bench:
        archive, clock = Scripted(list(answers)), [0.0]
        monkeypatch.setattr(runner_module, "supply_of", lambda *_: Supply(archive, ledger))  # type: ignore[arg-type]
        settings = Settings(
            work=WorkSettings(retry_wait_s=0.001, maximum_attempts=2),
            priors=PriorsSettings(**{"enabled": True, "dicomweb": URL, **priors}),
        )
        ledger.campaigns.stand(NEW)
        come(ledger, study_date="20261120")
        return Bench(
            Runner(settings, spool, ledger, lambda _: Turn(), clock=lambda: clock[0]), archive, ledger, clock
        )

    return make


def test_an_answer_is_put_on_the_list(bench: Callable[..., Bench]) -> None:
    made = bench([("7.1", "PAT-0001"), ("7.2", "PAT-0002"), ("7.3", "PAT-0001")], maximum_studies=1)
    made.step()
    assert made.state()[0] == "asked"
    assert progress_of(made.ledger, made.ledger.campaigns.named(PRIORS)).items == {"listed": 1}
    made.step()
    assert progress_of(made.ledger, made.ledger.campaigns.named(PRIORS)).items == {"refused": 1}
    assert len(made.archive.asked) == 1


def test_an_archive_that_is_away_is_nobodys_fault(bench: Callable[..., Bench]) -> None:
    made = bench(ArchiveAway("not there"), ArchiveAway("not there"), ArchiveAway("not there"), [])
    for _ in range(3):
        made.step(2)
        assert made.state() == ("waiting", "AWAY", 0)
        assert made.ledger.priors.trouble() == "not there"
        made.clock[0] += 400
    made.step()
    assert made.state()[0] == "asked"
    assert made.ledger.priors.trouble() == ""


def test_a_question_that_is_refused_is_given_up(bench: Callable[..., Bench]) -> None:
    made = bench(NotGiven("HTTP 400"), NotGiven("HTTP 400"))
    made.step()
    assert made.state() == ("waiting", "NOT_ANSWERED", 1)
    made.step(20)
    assert made.state() == ("failed", "NOT_ANSWERED", 2)
    assert len(made.archive.asked) == 2


def test_whoever_dies_over_a_question(bench: Callable[..., Bench]) -> None:
    made = bench(MemoryError(), [])
    with pytest.raises(MemoryError):
        made.step()
    assert made.state() == ("asking", "", 1)
    made.step()
    assert made.state()[0] == "asked"


def test_switched_off_nobody_is_asked(bench: Callable[..., Bench]) -> None:
    made = bench([], enabled=False)
    made.step(3)
    assert made.archive.asked == []
    assert made.state()[0] == "waiting"


def test_who_is_asked_for_waits_for_what_is_to_be_fetched(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench([])
    listed = [str(number) for number in range(FETCHED_FIRST)]
    made.ledger.campaigns.add(made.ledger.campaigns.named(PRIORS), listed, "", is_last=False)
    made.step(2)
    assert len(made.archive.asked) == 1
    assert progress_of(made.ledger, made.ledger.campaigns.named(PRIORS)).items["refused"] == 1


def test_the_campaign_is_what_the_settings_say(
    ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spinepacs.serve.standing.open_model", lambda *_: type("P", (), {"versions": VERSIONS})()
    )
    priors = PriorsSettings(enabled=True, ae="A@h:104", modalities=("dx",), deliver=True, per_hour=7)
    runner = Runner(Settings(priors=priors), spool, ledger, lambda _: Turn())
    runner.stand()
    made = ledger.campaigns.named(PRIORS)
    assert (made.kind, made.place, made.query.modalities) == (Kind.DICOM, "A@h:104", ("DX",))
    assert (made.delivers, made.per_hour, made.versions) == (True, 7, VERSIONS)
