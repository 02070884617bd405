"""A short run of the listener's fuzzer, and what it found; the long one: ``python -m tests.fuzz pdu --minutes 30``."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from tests.fuzz import upper
from tests.fuzz.listening import Listening
from tests.fuzz.pdu import AT_ONCE, LONGEST_S, fuzz, play
from tests.fuzz.upper import (
    P_DATA,
    RELEASE,
    Session,
    Step,
    command,
    context,
    echo,
    pdu,
    request,
    session,
    value,
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with Listening(tmp_path_factory.mktemp("listener")) as started:
        yield started


def test_the_same_seed_and_number_make_the_same_session() -> None:
    numbers = range(50)
    assert [session(7, number) for number in numbers] == [session(7, number) for number in numbers]
    assert [session(7, number) for number in numbers] != [session(8, number) for number in numbers]


@pytest.mark.parametrize("seed", [1, None], ids=["a known seed", "a fresh seed"])
def test_liars_harm_nobody(target: Listening, seed: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = random.SystemRandom().randrange(10**9) if seed is None else seed
    tally = fuzz(target, chosen, seconds=4, most=3 * AT_ONCE)
    with capsys.disabled():
        print(f"\nfuzz seed {chosen}: {tally}")
    assert not tally.found, f"seed {chosen}"
    assert tally.executions


def test_what_the_fuzzer_counts_as_acknowledged(target: Listening) -> None:
    images, stayed = play(
        target.port, Session("", (Step(request(), waits=True), Step(upper.store(b"1.2.99\0")), Step(RELEASE)))
    )
    assert (images, stayed) == (b"1.2.99\n", False)


def test_a_request_that_defeats_the_negotiation_does_not_keep_its_connection(target: Listening) -> None:
    """pynetdicom's thread ended in a traceback, and the connection stayed for as long as the peer liked."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=LONGEST_S) as connection:
        connection.sendall(request(context(1, upper.CR, "")))
        answer = connection.recv(1000)
        while connection.recv(1000):
            pass
    assert answer[:1] in (b"", b"\x02", b"\x07")
    assert "CRITICAL" not in target.log.read_text()


@pytest.mark.parametrize("field", [0x0020, 0x0021, 0x0140, 0x0120, 0x8001])
def test_another_message_where_an_image_belongs_is_refused(target: Listening, field: int) -> None:
    message = pdu(P_DATA, value(1, 3, command(Field=field, DataSetType=0x0101)))
    steps = Step(request(), waits=True), Step(message), Step(pdu(P_DATA, value(3, 3, echo(2)))), Step(RELEASE)
    assert play(target.port, Session("", steps)) == (b"", False)
    assert "ERROR spinepacs" not in target.log.read_text()
    assert target.serves(field) == ""
