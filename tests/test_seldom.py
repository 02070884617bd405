"""What /metrics counts in a ledger of a million rows is counted seldom, and in a small one each time."""

from __future__ import annotations

import pytest

from spinepacs.seldom import Seldom


class Question:
    """Answers 1, 2, 3 …, each after so many seconds."""

    def __init__(self, takes_s: float) -> None:
        self.now_s, self._takes_s, self._answers = 1000.0, takes_s, iter(range(1, 100))

    def ask(self) -> int:
        """One answer."""
        self.now_s += self._takes_s
        return next(self._answers)

    def seldom(self) -> Seldom[int]:
        """Asked no oftener than it can be afforded."""
        return Seldom(self.ask, clock=lambda: self.now_s)


def test_what_is_quick_is_asked_each_time() -> None:
    question = Question(takes_s=0.01)
    count = question.seldom()
    assert [count(), count(), count()] == [1, 2, 3]


def test_what_takes_half_a_second_is_asked_again_after_fifty() -> None:
    question = Question(takes_s=0.5)
    count = question.seldom()
    assert [count(), count()] == [1, 1]
    question.now_s += 49
    assert count() == 1
    question.now_s += 1
    assert [count(), count()] == [2, 2]


def test_what_was_changed_is_asked_for_anew() -> None:
    question = Question(takes_s=0.5)
    count = Seldom(question.ask, clock=lambda: question.now_s, share=0.1)
    assert [count(), count()] == [1, 1]
    count.forget()
    assert [count(), count()] == [2, 2]
    question.now_s += 5
    assert count() == 3


def test_a_failure_is_no_answer() -> None:
    answers = iter([0, 2])
    count = Seldom(lambda: 10 // next(answers))
    with pytest.raises(ZeroDivisionError):
        count()
    assert count() == 5
