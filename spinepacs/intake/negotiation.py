"""What pynetdicom works out for each association request, worked out once for all that ask for the same.

A sender asks for a hundred presentation contexts, the same each time, and many ask with a new association for each
image. To decode them, settle each and encode the answers takes pynetdicom 8 ms, more than all else about an association
together. Here its own functions still do it, but of the last requests their results are kept: they depend on nothing
else than what was asked and what is supported, and nobody changes them afterwards.

:func:`install` puts this in their place, for the whole process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from copy import copy
from functools import lru_cache
from typing import Any, cast

from pynetdicom import acse, dul, fsm
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_items import PresentationContextItemAC, PresentationContextItemRQ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

REMEMBERED = 16
"""Kinds of requests; the programs of one manufacturer mostly ask for the same."""

_LONGEST_BYTES = 1 << 15
"""Of contexts that are remembered: 128 of two transfer syntaxes have 14 KB."""


_ITEM_HEAD = struct.Struct(">BxH")
_CONTEXT = 0x20


class Asked(PresentationContext):
    """A presentation context of a request that is remembered: it stays as it is."""


class Settled(PresentationContext):
    """What was answered to one, which stays as it is too."""


class Same:
    """Objects that stay as they are, equal to nothing but the same ones: what was worked out of them is found by it."""

    __slots__ = ("_ids", "each")

    def __init__(self, objects: Iterable[PresentationContext]) -> None:
        self.each = tuple(objects)  # as long as they live, nothing else has their ids
        self._ids = tuple(map(id, self.each))

    def __hash__(self) -> int:
        return hash(self._ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self._ids == other._ids


def is_remembered(contexts: Sequence[PresentationContext]) -> bool:
    """Whether these contexts of one request, or of its answer, are kept."""
    return bool(contexts) and isinstance(contexts[0], Asked | Settled)


class _Item(PresentationContextItemRQ):
    """A presentation context as it was asked for, decoded once."""

    context: PresentationContext

    def to_primitive(self) -> PresentationContext:
        return self.context


class Request(A_ASSOCIATE_RQ):
    """A-ASSOCIATE-RQ (PS3.8 9.3.2) whose presentation contexts are decoded only where they have not been lately."""

    def _wrap_generate_items(self, bytestream: bytes) -> list[Any]:
        start, end = _contexts_in(bytestream)
        if not 0 < end - start <= _LONGEST_BYTES:
            return super()._wrap_generate_items(bytestream)
        # What else is asked for may hold names and passwords (PS3.7 D.3.3.7): nothing of it is kept.
        before = super()._wrap_generate_items(bytestream[:start])
        return [*before, *_items(bytestream[start:end]), *super()._wrap_generate_items(bytestream[end:])]

    def to_primitive(self) -> A_ASSOCIATE:
        """What is asked for; its contexts, which are remembered, are not looked at one by one."""
        every = self.variable_items
        asked = [item for item in every if isinstance(item, _Item)]
        self.variable_items = [item for item in every if not isinstance(item, _Item)]
        try:
            primitive = super().to_primitive()
        finally:
            self.variable_items = every
        primitive.presentation_context_definition_list.extend(item.context for item in asked)
        return primitive


def _contexts_in(encoded: bytes) -> tuple[int, int]:
    """Where the presentation contexts of a request begin and end; 0, 0 where they do not lie side by side."""
    at, start, end = 0, 0, 0
    while at + _ITEM_HEAD.size <= len(encoded):
        kind, length = _ITEM_HEAD.unpack_from(encoded, at)
        after = at + _ITEM_HEAD.size + length
        if kind == _CONTEXT:
            if end not in (0, at):
                return 0, 0
            start, end = (start if end else at), after
        at = after
    return start, end


@lru_cache(maxsize=REMEMBERED)
def _items(encoded: bytes) -> tuple[Any, ...]:
    items = A_ASSOCIATE_RQ()._wrap_generate_items(encoded)
    for item in items:
        if isinstance(item, PresentationContextItemRQ):
            context = item.to_primitive()
            context.__class__, item.__class__ = Asked, _Item
            cast(_Item, item).context = context
            item.abstract_transfer_syntax_sub_items = []  # all of them is in the context
    return tuple(items)


def negotiate(
    asked: list[PresentationContext], supported: list[PresentationContext], roles: Any = None
) -> tuple[list[PresentationContext], list[Any]]:
    """Settle each context that was asked for, as pynetdicom's ``negotiate_as_acceptor`` does."""
    if roles or not is_remembered(asked):
        return negotiate_as_acceptor(asked, supported, roles)
    return list(_settled(Same(asked), Same(supported))), []


@lru_cache(maxsize=REMEMBERED)
def _settled(asked: Same, supported: Same) -> tuple[PresentationContext, ...]:
    settled, _ = negotiate_as_acceptor(list(asked.each), list(supported.each))
    for context in settled:
        context.__class__ = Settled
    return tuple(settled)


class Answer(A_ASSOCIATE_AC):
    """A-ASSOCIATE-AC (PS3.8 9.3.3) whose presentation contexts are encoded only where they have not been lately."""

    pdu_type = 0x02  # pynetdicom looks it up by the class

    def from_primitive(self, primitive: A_ASSOCIATE) -> None:
        """Take what is to be answered."""
        settled = primitive.presentation_context_definition_results_list
        if not is_remembered(settled):
            super().from_primitive(primitive)
            return
        rest = copy(primitive)
        rest.presentation_context_definition_results_list = []
        super().from_primitive(rest)
        self.variable_items.insert(1, cast(Any, _encoded(Same(settled))))


class _Encoded(bytes):
    """Several items as they go over the wire."""

    def encode(self) -> bytes:
        return self


@lru_cache(maxsize=REMEMBERED)
def _encoded(settled: Same) -> _Encoded:
    items = [PresentationContextItemAC() for _ in settled.each]
    for item, context in zip(items, settled.each, strict=True):
        item.from_primitive(context)
    return _Encoded(b"".join(item.encode() for item in items))


def install() -> None:
    """Let pynetdicom decode requests, settle contexts and encode answers with these."""
    dul._PDU_TYPES[b"\x01"] = (Request, dul._PDU_TYPES[b"\x01"][1])
    cast(Any, acse).negotiate_as_acceptor = negotiate
    cast(Any, fsm).A_ASSOCIATE_AC = Answer
