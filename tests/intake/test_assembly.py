import pytest

from spinepacs.intake.assembly import Assembly
from spinepacs.store.records import StudyClock


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def assembly(clock):
    return Assembly(30, clock)


def test_a_study_is_ready_after_the_quiet_period(assembly, clock):
    assert assembly.ready([StudyClock("1.2", 3)]) == []
    clock.now_s += 29.9
    assert assembly.ready([StudyClock("1.2", 3)]) == []
    clock.now_s += 0.1
    assert assembly.ready([StudyClock("1.2", 3)]) == ["1.2"]


def test_each_image_begins_the_quiet_period_again(assembly, clock):
    for images in (1, 2, 3):
        assert assembly.ready([StudyClock("1.2", images)]) == []
        clock.now_s += 29
    clock.now_s += 1
    assert assembly.ready([StudyClock("1.2", 3)]) == ["1.2"]


def test_the_study_that_has_been_quiet_longest_comes_first(assembly, clock):
    assembly.ready([StudyClock("1.1", 1)])
    clock.now_s += 5
    assembly.ready([StudyClock("1.2", 1), StudyClock("1.1", 1)])
    clock.now_s += 30
    assert assembly.ready([StudyClock("1.2", 1), StudyClock("1.1", 1), StudyClock("1.3", 1)]) == [
        "1.1",
        "1.2",
    ]


def test_a_study_that_was_reopened_waits_anew(assembly, clock):
    assembly.ready([StudyClock("1.2", 1)])
    clock.now_s += 30
    assert assembly.ready([StudyClock("1.2", 1)]) == ["1.2"]
    assert assembly.ready([]) == []
    assert assembly.ready([StudyClock("1.2", 1)]) == []
