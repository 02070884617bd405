"""Ciphers, audit messages, character sets."""

from __future__ import annotations

from spinepacs.audit import message
from spinepacs.errors import SpinepacsError
from spinepacs.settings.sections import ReadingSettings
from spinepacs.tls import CIPHERS_1_2
from tests.conformance.markdown import table


def ciphers() -> str:
    """Cipher suites of TLS 1.2."""
    return table(
        ("TLS 1.2 cipher suite (OpenSSL's name)",), [(f"`{name}`",) for name in CIPHERS_1_2.split(":")]
    )


def audit_events() -> str:
    """Which DICOM audit messages are written, and of what."""
    by_event: dict[tuple[str, str], list[str]] = {}
    for action, (code, kind) in message._EVENTS.items():
        by_event.setdefault((f"{code.value} {code.meaning}", kind), []).append(action)
    rows = [(event, kind, ", ".join(actions)) for (event, kind), actions in sorted(by_event.items())]
    return table(("EventID", "EventActionCode", "of"), rows)


def character_sets() -> str:
    """Terms of Specific Character Set (0008,0005) that are known."""
    single = [f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166, 192)]
    single += ["GB18030", "GBK"]
    extended = [f"\\ISO 2022 IR {term.split()[1]}" for term in single[:12]]
    extended += [f"\\ISO 2022 IR {n}" for n in (6, 87, 159, 149, 58)]

    def known(terms: list[str]) -> str:
        found = []
        for term in terms:
            try:
                ReadingSettings(default_character_set=term)
            except (ValueError, SpinepacsError):
                continue
            found.append(f"`{term.removeprefix(chr(92))}`")
        return ", ".join(found)

    rows = [("without code extensions", known(single)), ("with code extensions", known(extended))]
    return table(("", "terms"), rows)
