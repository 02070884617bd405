"""A body of type multipart/related (RFC 2387) taken apart as it comes, part by part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

# It says so of each byte that is not as it expects it.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class Sink(Protocol):
    """Where the content of one part goes."""

    def take(self, piece: memoryview) -> None:
        """Take the next bytes; they may be changed afterwards."""

    def end(self) -> None:
        """The part is whole."""


class NotMultipart(Exception):  # noqa: N818 - what the body is
    """The body is not what its header says, or ends too early."""


class Parts:
    """Takes a body apart.

    Parameters
    ----------
    boundary
        As in the request's header.
    begin
        Makes the sink of a part of its headers, whose names are in lower case.

    Raises
    ------
    NotMultipart
        If no body can have that boundary.
    """

    def __init__(self, boundary: bytes, begin: Callable[[Mapping[str, str]], Sink]) -> None:
        self._begin = begin
        self._sink: Sink | None = None
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._is_whole = False
        if not boundary:
            raise NotMultipart("no boundary")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._on_name,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_content,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise NotMultipart("the boundary is too long") from error

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body; what a sink raises passes through.

        Raises
        ------
        NotMultipart
            If they are no such body.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise NotMultipart("the body is not multipart as its header says") from error

    def finish(self) -> None:
        """Raise NotMultipart if the body has not come to its end."""
        if not self._is_whole:
            raise NotMultipart("the body ends before its last boundary")

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _on_content(self) -> None:
        self._sink = self._begin(dict(self._headers))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is not None:
            self._sink.take(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.end()

    def _on_end(self) -> None:
        self._is_whole = True
