"""A folder that hangs, as a share does whose server is gone."""

from __future__ import annotations

import threading

import pytest

from spinepacs.intake import pulse as pulses
from spinepacs.intake.pulse import pulse
from tests import peers


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulses, "_EVERY_S", 0.02)


@pytest.mark.parametrize(("found", "after"), [((1, 2), True), (None, False)], ids=["there", "gone meanwhile"])
def test_a_folder_that_hangs_is_said_once_and_so_is_its_answer(
    caplog: pytest.LogCaptureFixture, found: object, after: bool
) -> None:
    answers, states = threading.Event(), list[bool]()

    def ask() -> object:
        answers.wait()
        return found

    with pulse(ask, states.append, silence_s=0.3):
        peers.wait_until(lambda: states == [False], what="the word that it hangs")
        threading.Event().wait(0.5)
        answers.set()
        peers.wait_until(lambda: states == [False, after], what="the word that it answers")
    assert caplog.text.count("has not answered for 0.3 s") == 1
    assert caplog.text.count("answers again") == 1


def test_one_that_answers_is_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    states = list[bool]()
    with pulse(lambda: (1, 2), states.append, silence_s=0.3):
        threading.Event().wait(0.8)
    assert (states, caplog.text) == ([], "")


def test_the_end_does_not_wait_for_a_folder_that_hangs() -> None:
    answers = threading.Event()
    with pulse(answers.wait, lambda is_there: None, silence_s=0.3):
        threading.Event().wait(0.1)
    answers.set()
