"""Senders behind a balancer: the PROXY protocol by HAProxy, and headers that are wrong."""

from __future__ import annotations

import socket
import struct
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import column, select, table

from spinepacs.intake.proxy import sender_behind
from tests import films, peers
from tests.balancers import haproxy
from tests.certificates import authority
from tests.intake.doors import REJECTED_FOR_NOW, answer, counted, listening, request
from tests.intake.test_listener_tls import secured, storescu

BALANCER = "127.0.0.9"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(family: int, addresses: bytes, command: int = 1) -> bytes:
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, family << 4 | 1, len(addresses)) + addresses


def ip4(sender: str) -> bytes:
    return socket.inet_aton(sender) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 40000, 11112)


def ip6(sender: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, sender) + bytes(16) + struct.pack(">HH", 40000, 11112)


def read(data: bytes) -> tuple[str, bytes]:
    """Whose connection it is that begins so, and what is left of it."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        sender = sender_behind(near, time.monotonic() + 5)
        near.settimeout(5)
        return sender, near.recv(1 << 16)


@pytest.mark.parametrize(
    ("header", "sender"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 11112\r\n", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 11112\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""),
        (version_2(1, ip4("192.0.2.7")), "192.0.2.7"),
        (version_2(1, ip4("192.0.2.7") + b"\x04\x00\x03abc"), "192.0.2.7"),
        (version_2(2, ip6("2001:db8::7")), "2001:db8::7"),
        (version_2(0, b"", command=0), ""),
        (version_2(1, ip4("192.0.2.7"), command=0), ""),
        (version_2(3, bytes(216)), ""),
    ],
)
def test_the_sender_is_read_and_nothing_of_what_follows(header, sender):
    assert read(header + request()) == (sender, request())


@pytest.mark.parametrize(
    "wrong",
    [
        request(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
        b"PROXY TCP4 somebody 10.0.0.1 40000 11112\r\n",
        b"PROXY " + b"x" * 200,
        b"PROXY TCP4 192.0.2.7",
        SIGNATURE + b"\x11\x11\x00\x0c" + ip4("192.0.2.7"),
        SIGNATURE + b"\x22\x11\x00\x0c" + ip4("192.0.2.7"),
        version_2(1, ip4("192.0.2.7")[:8]),
        version_2(1, ip4("192.0.2.7"))[:-1],
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000),
    ],
)
def test_a_header_that_is_wrong_is_told_from_silence(wrong):
    with pytest.raises(ValueError, match=r"PROXY|address"):
        read(wrong)
    with pytest.raises(ValueError, match=r"^$"):
        read(b"")


@given(st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21"]), st.binary(max_size=300))
def test_whatever_comes_is_an_address_or_a_plain_error(start, data):
    try:
        sender, _ = read(start + data)
    except ValueError:
        return
    assert sender == "" or socket.getaddrinfo(sender, None, flags=socket.AI_NUMERICHOST)


def greet(port: int, header: bytes, source: str = BALANCER) -> bytes:
    """First bytes of the answer to an association request behind a header."""
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)) as connection:
        connection.sendall(header + request())
        return answer(connection)


def test_limits_are_those_of_the_sender_not_of_the_balancer(spool, ledger):
    settings = {"proxies": (BALANCER,), "networks": ("192.0.2.0/24",), "associations_per_minute": 2}
    with listening(spool, ledger, **settings) as (listener, book):
        for number in (1, 1, 2, 2):
            assert greet(listener.port, version_2(1, ip4(f"192.0.2.{number}")))[:1] == b"\x02"
        assert greet(listener.port, version_2(1, ip4("192.0.2.1"))) == REJECTED_FOR_NOW + b"\x01"
        assert greet(listener.port, version_2(1, ip4("198.51.100.1"))) == b""
        assert counted(book) == {"rate_limit": 1, "network": 1}
        lately = {address: visits for address, (_, visits) in book.traffic().items() if visits}
        assert lately == {"192.0.2.1": 2, "192.0.2.2": 2}


def test_only_a_balancer_is_believed(spool, ledger):
    with listening(spool, ledger, proxies=(BALANCER,), networks=("192.0.2.0/24", "127.0.0.1")) as (
        listener,
        book,
    ):
        assert greet(listener.port, version_2(1, ip4("192.0.2.1")), "127.0.0.1") == b""
        assert greet(listener.port, b"") == b""
        assert counted(book) == {"protocol": 2}


def test_a_balancer_that_looks_whether_we_are_there_is_not_counted(spool, ledger):
    with listening(spool, ledger, proxies=(BALANCER,), networks=("192.0.2.0/24",)) as (listener, book):
        assert greet(listener.port, version_2(0, b"", command=0)) == b""
        with socket.create_connection(("127.0.0.1", listener.port), source_address=(BALANCER, 0)):
            pass
        assert greet(listener.port, version_2(1, ip4("192.0.2.1")))[:1] == b"\x02"
        assert counted(book) == {}


def test_a_balancer_that_says_nothing_is_let_go(spool, ledger):
    with listening(spool, ledger, proxies=(BALANCER,), acse_timeout_s=0.5) as (listener, book):
        with socket.create_connection(
            ("127.0.0.1", listener.port), 10, source_address=(BALANCER, 0)
        ) as silent:
            assert answer(silent) == b""
        assert counted(book) == {"time": 1}


@pytest.mark.peer
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_haproxy_brings_senders_with_their_address(spool, ledger, tmp_path, version, tls):
    ours = authority(tmp_path)
    secure = secured(ours, ours.issue(tmp_path, "server")) if tls else {}
    who = ours.issue(tmp_path, "modality")
    film = films.write(films.make_dx(), tmp_path / "film.dcm")
    known = {"proxies": (BALANCER,), "networks": ("127.0.0.1",)}
    with (
        listening(spool, ledger, **known, **secure) as (listener, book),
        haproxy(tmp_path, [(listener.port, None)], version=version, source=BALANCER) as port,
    ):
        if tls:
            assert storescu(port, ours, who, film) == 0
        else:
            sent = [peers.require("storescu"), "-aec", "SPINEPACS", "127.0.0.1", str(port), str(film)]
            assert subprocess.run(sent, capture_output=True, timeout=30, check=False).returncode == 0
        assert counted(book) == {}
    assert ledger.rows(select(column("peer")).select_from(table("arrivals"))) == [{"peer": "127.0.0.1"}]
