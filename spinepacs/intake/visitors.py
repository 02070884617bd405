"""Who is in, who came lately, and who was turned away and why: counted by all listener processes together.

Each process writes a page of its own in shared memory and reads those of the others, so no lock is needed, and one
that is killed harms nobody: its successor begins by clearing what the page says about who is in. What other machines
count lies beside the pages; the supervisor writes it, and it is as old as their last beat.
"""

from __future__ import annotations

import ctypes
import ipaddress
import struct
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

REMEMBERED = 1024
"""Connections that a page remembers: the highest rate that can be limited, for each process and minute."""

SEATS = 256
"""Connections at a time that a page can hold."""

ADDRESSES = 1024
"""Addresses on other machines that are known."""

_VISIT = struct.Struct("=16sd")
_ELSEWHERE = struct.Struct("=16sII")
_MINUTE_S = 60.0


class Turned(StrEnum):
    """Why a connection, an association, a context or an object was not taken; the label of the metric."""

    NETWORK = "network"
    """Its address is in none of ``listener.networks``: closed before any PDU."""
    ASSOCIATION_LIMIT = "association_limit"
    """Its address has as many associations as one may: rejected, local limit exceeded."""
    RATE_LIMIT = "rate_limit"
    """Its address came too often in a minute: rejected, temporary congestion."""
    TLS = "tls"
    """The TLS handshake failed: no TLS, no common cipher, no certificate, or one that we do not trust."""
    CALLED_AE = "called_ae"
    CALLING_AE = "calling_ae"
    TIME = "time"
    """It was silent or slow for too long."""
    PROTOCOL = "protocol"
    """No association request at all, or a PDU that is longer than was agreed."""
    CONTEXT = "context"
    """A presentation context that was refused: objects of its class cannot be sent to us, or not as they are."""
    TOO_LARGE = "too_large"
    """An object above ``listener.maximum_object_mb``: answered 0xC001, the association goes on."""


_REASONS = tuple(Turned)


class _Page(ctypes.Structure):
    """What one process writes."""

    _fields_ = [
        ("turned", ctypes.c_uint64 * len(_REASONS)),
        ("accepted", ctypes.c_uint64),
        ("seats", ctypes.c_char * (16 * SEATS)),
        ("next_visit", ctypes.c_uint64),
        ("visits", ctypes.c_char * (_VISIT.size * REMEMBERED)),
    ]


class _Elsewhere(ctypes.Structure):
    """What other machines count, by address."""

    _fields_ = [("number", ctypes.c_uint64), ("counts", ctypes.c_char * (_ELSEWHERE.size * ADDRESSES))]


class VisitorsBook:
    """The pages of all processes: made by their parent, handed to each when it is started.

    Parameters
    ----------
    pages
        Number of listener processes.
    """

    def __init__(self, pages: int = 1) -> None:
        self._pages: Any = get_context("spawn").RawArray(_Page, pages)
        self._elsewhere: Any = get_context("spawn").RawArray(_Elsewhere, 1)

    def page(self, number: int) -> Page:
        """Open the page of process ``number`` (from 0) for writing; nobody is in yet."""
        return Page(self._pages, number, self._elsewhere)

    def traffic(self) -> dict[str, tuple[int, int]]:
        """By address how many connections there are now, and how many were let in within the last minute."""
        now = Counter(who for page in self._pages for who in _seats(page))
        lately = Counter(who for page in self._pages for who in _lately(page))
        return {unpacked(who): (now[who], lately[who]) for who in now | lately}

    def hear(self, traffic: Iterable[Mapping[str, Sequence[int]]]) -> None:
        """Write down what other machines count: of each its :meth:`traffic`."""
        now: Counter[str] = Counter()
        lately: Counter[str] = Counter()
        for each in traffic:
            now.update({address: seats for address, (seats, _) in each.items()})
            lately.update({address: visits for address, (_, visits) in each.items()})
        busiest = [address for address, _ in (now + lately).most_common(ADDRESSES)]
        counts = [_ELSEWHERE.pack(packed(who), now[who], lately[who]) for who in busiest]
        page = self._elsewhere[0]
        page.number = 0  # read meanwhile: a moment of nobody, and never half a line
        ctypes.memmove(
            ctypes.addressof(page) + _Elsewhere.counts.offset, b"".join(counts), len(counts) * _ELSEWHERE.size
        )
        page.number = len(counts)

    def turned_away(self) -> dict[str, int]:
        """How many were turned away since the start, by reason."""
        return {
            reason.value: sum(page.turned[index] for page in self._pages)
            for index, reason in enumerate(_REASONS)
        }

    def let_in(self) -> int:
        """How many associations were accepted since the start."""
        return int(sum(page.accepted for page in self._pages))

    def inside(self) -> int:
        """How many connections there are now."""
        return sum(map(_taken, self._pages))


class Page:
    """One process's own page, and what it can see on those of the others. Any of its threads may count."""

    def __init__(self, pages: Any, number: int, elsewhere: Any) -> None:
        self._pages = pages
        self._elsewhere = elsewhere
        self._own = pages[number]
        self._lock = threading.Lock()
        self.seat(())

    def seat(self, addresses: Collection[str]) -> None:
        """Write down who is in now: the IP address of each connection of this process."""
        taken = b"".join(packed(address) for address in list(addresses)[:SEATS])
        ctypes.memmove(_start(self._own, "seats"), taken.ljust(16 * SEATS, b"\x00"), 16 * SEATS)

    def seats_of(self, address: str) -> int:
        """How many connections an address has with all processes, and with other machines."""
        here = sum(_seats(page).count(packed(address)) for page in self._pages)
        return here + self._heard(address)[0]

    def fewest_elsewhere(self) -> int | None:
        """How many connections the process has that has fewest, of the others; None: there is no other."""
        others = (page for page in self._pages if ctypes.addressof(page) != ctypes.addressof(self._own))
        return min((_taken(page) for page in others), default=None)

    def visit(self, address: str) -> None:
        """Write down that an address has been let in now."""
        offset = self._own.next_visit % REMEMBERED * _VISIT.size
        visit = _VISIT.pack(packed(address), time.monotonic())
        ctypes.memmove(_start(self._own, "visits") + offset, visit, _VISIT.size)
        self._own.next_visit += 1

    def visits_of(self, address: str) -> int:
        """How often an address has been let in within the last minute, by all processes and machines."""
        wanted, since_s = packed(address), time.monotonic() - _MINUTE_S
        pages = (_VISIT.iter_unpack(_bytes(page, "visits")) for page in self._pages)
        here = sum(1 for visits in pages for who, at_s in visits if who == wanted and at_s > since_s)
        return here + self._heard(address)[1]

    def _heard(self, address: str) -> tuple[int, int]:
        """What other machines said of an address: connections now, and within the last minute."""
        page, wanted = self._elsewhere[0], packed(address)
        start = ctypes.addressof(page) + _Elsewhere.counts.offset
        heard = _ELSEWHERE.iter_unpack(ctypes.string_at(start, page.number * _ELSEWHERE.size))
        return next(((now, lately) for who, now, lately in heard if who == wanted), (0, 0))

    def count(self, reason: Turned, number: int = 1) -> None:
        """One more was turned away, or so many."""
        with self._lock:
            self._own.turned[_REASONS.index(reason)] += number

    def count_accepted(self) -> None:
        """One more association was accepted."""
        with self._lock:
            self._own.accepted += 1


@lru_cache(maxsize=ADDRESSES)
def packed(address: str) -> bytes:
    """An IP address in 16 bytes; IPv4 as it is mapped into IPv6 (RFC 4291 2.5.5.2), so that it is one address."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed


def unpacked(address: bytes) -> str:
    """The reverse of :func:`packed`."""
    parsed = ipaddress.IPv6Address(address)
    return str(parsed.ipv4_mapped or parsed)


def _lately(page: _Page) -> Iterator[bytes]:
    """Who was let in within the last minute, once for each time."""
    since_s = time.monotonic() - _MINUTE_S
    return (who for who, at_s in _VISIT.iter_unpack(_bytes(page, "visits")) if at_s > since_s and any(who))


def _start(page: _Page, field: str) -> int:
    return ctypes.addressof(page) + int(getattr(_Page, field).offset)


def _bytes(page: _Page, field: str) -> bytes:
    """A field as it is: ctypes itself would end it at its first zero."""
    return ctypes.string_at(_start(page, field), getattr(_Page, field).size)


def _taken(page: _Page) -> int:
    return len(_seats(page))


def _seats(page: _Page) -> list[bytes]:
    """Who is in; they sit side by side from the first seat on."""
    taken = _bytes(page, "seats").rstrip(b"\x00")  # no address is all zeros
    return [taken[index : index + 16].ljust(16, b"\x00") for index in range(0, len(taken), 16)]
