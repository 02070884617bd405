"""Column types that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Float, Integer, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

Key = BigInteger().with_variant(Integer, "sqlite")
"""Primary keys that count by themselves: SQLite does so for INTEGER only."""


class UtcTime(TypeDecorator[datetime]):
    """A zone-aware time, always UTC.

    ``timestamptz`` on PostgreSQL; on SQLite text such as ``2026-11-23 06:21:01.000000+00:00``, which sorts by
    time and which its date functions understand. A naive time is refused: nobody knows what it means.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text of fixed width on SQLite."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes zone-aware times only")
        utc = value.astimezone(UTC)
        return utc.isoformat(sep=" ", timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """To a zone-aware datetime in UTC."""
        if value is None:
            return None
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


class SafeText(TypeDecorator[str]):
    """Text that any database takes: without NUL (PostgreSQL) and without lone surrogates (both)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Drop NULs, replace what is not Unicode."""
        return None if value is None else safe(value)


def safe(value: str) -> str:
    """Text as it will be read back."""
    text = str(value)
    if text.isascii() and "\0" not in text:  # nearly always
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


class Measure(TypeDecorator[float]):
    """A measured number of double precision; NaN and infinity are no measure and become NULL."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> float | None:
        """To a plain float: numpy's are unknown to the drivers."""
        return None if value is None or not math.isfinite(value) else float(value)


class PlainJson(TypeDecorator[Any]):
    """JSON made of plain lists, objects, text and finite numbers."""

    impl = JSON(none_as_null=True)
    cache_ok = True
