"""One message to an HL7 v2 receiver over MLLP, and what its acknowledgement means (HL7 v2.5.1 2.9, table 0008)."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spinepacs.delivery.spooled import content_of
from spinepacs.delivery.verdicts import Link, Outcome, Unreachable, Verdict
from spinepacs.errors import BadSettings
from spinepacs.exchange.hl7 import escaped
from spinepacs.settings.destinations import Hl7Destination
from spinepacs.store.records import OutboxItem
from spinepacs.tls import client_context, why_broken

_LONGEST_ANSWER_BYTES = 1 << 20


@contextmanager
def opened(destination: Hl7Destination) -> Iterator[Link | Verdict]:
    """Connect for one batch; see :func:`spinepacs.delivery.kinds.opened`."""
    context = _tls(destination)
    _load_hl7()
    with asyncio.Runner() as runner:
        try:
            reader, writer = runner.run(_connect(destination, context))
        except (OSError, UnicodeError) as error:
            where = f"{destination.host} port {destination.port}"
            why = why_broken(error) if isinstance(error, OSError) else "its host is no name"
            yield Verdict(Outcome.TRANSIENT, None, f"{where} is not reachable: {why}")
            return
        try:
            yield _Messages(destination, runner, reader, writer)
        finally:
            runner.run(_close(writer))


def _load_hl7() -> None:
    try:
        import hl7.mllp  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise Unreachable("HL7 needs the extra hl7: pip install 'spinepacs[hl7]'") from error


def _tls(destination: Hl7Destination) -> ssl.SSLContext | None:
    try:
        return client_context(destination) if destination.tls else None
    except BadSettings as error:
        raise Unreachable(f"no TLS to {destination.name}: {error}") from error


async def _connect(destination: Hl7Destination, context: ssl.SSLContext | None) -> tuple[Any, Any]:
    from hl7.mllp import open_hl7_connection

    name = destination.tls_server_name or destination.host
    async with asyncio.timeout(destination.timeout_s):
        return await open_hl7_connection(  # type: ignore[no-any-return]
            destination.host,
            destination.port,
            limit=_LONGEST_ANSWER_BYTES,
            encoding="utf-8",
            ssl=context,
            server_hostname=name if context else None,
        )


async def _close(writer: Any) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()


class _Messages:
    """See the module."""

    def __init__(self, destination: Hl7Destination, runner: asyncio.Runner, reader: Any, writer: Any) -> None:
        self._destination, self._runner, self._reader, self._writer = destination, runner, reader, writer
        self.is_over = False

    def send(self, item: OutboxItem, path: Path) -> Verdict:
        """Send one message as it lies in the spool, addressed to this receiver."""
        content = content_of(path, item)
        if isinstance(content, Verdict):
            return content
        text = addressed(content.decode(), self._destination)
        from hl7.mllp import InvalidBlockError

        try:
            answer = self._runner.run(self._ask(text))
        except TimeoutError:
            return self._lost("no whole acknowledgement: time-out")
        except OSError as error:
            return self._lost(f"no whole acknowledgement: {why_broken(error)}")
        except (EOFError, ValueError, InvalidBlockError):  # ends early, too long, no text, no block
            return self._lost("no acknowledgement that is one")
        return judge_answer(answer, _field(text, "MSH", 10))

    async def _ask(self, text: str) -> str:
        async with asyncio.timeout(self._destination.timeout_s):
            self._writer.writeblock(text.encode())
            await self._writer.drain()
            block: bytes = await self._reader.readblock()
            return block.decode("utf-8")

    def _lost(self, why: str) -> Verdict:
        self.is_over = True
        return Verdict(Outcome.TRANSIENT, None, why)


def addressed(text: str, destination: Hl7Destination) -> str:
    """Fill in MSH-3 to MSH-6: who sends it, and who is to get it."""
    names = (
        destination.sending_application,
        destination.sending_facility,
        destination.receiving_application,
        destination.receiving_facility,
    )
    head, _, rest = text.partition("\r")
    fields = head.split("|")
    fields[2:6] = [escaped(name) for name in names]
    return "|".join(fields) + "\r" + rest


def judge_answer(answer: str, control_id: str) -> Verdict:
    """Turn an acknowledgement into what to do next: only AA or CA to this very message is success."""
    code, about = _field(answer, "MSA", 1), _field(answer, "MSA", 2)
    if about != control_id or code not in _MEANING:
        return Verdict(Outcome.TRANSIENT, None, "no acknowledgement of this message")
    outcome = _MEANING[code]
    return Verdict(outcome, 0x0000 if outcome is Outcome.SENT else None, _SAID[outcome].format(code))


_MEANING = {
    "AA": Outcome.SENT,
    "CA": Outcome.SENT,
    "AE": Outcome.PERMANENT,
    "CE": Outcome.PERMANENT,
    "AR": Outcome.TRANSIENT,
    "CR": Outcome.TRANSIENT,
}
"""Errors are about the message; rejections also about the receiver, which may be busy or down (2.9.2.2)."""
_SAID = {
    Outcome.SENT: "",
    Outcome.PERMANENT: "refused, {}",
    Outcome.TRANSIENT: "rejected, {}",
}


def _field(text: str, segment: str, number: int) -> str:
    """One field of the first segment of that name; empty where there is none. What is in it is not quoted anywhere."""
    for line in re.split(r"[\r\n]+", text):
        if line.startswith(segment + "|"):
            fields = line.split("|")
            at = number - 1 if segment == "MSH" else number
            return fields[at].strip() if at < len(fields) else ""
    return ""


def probe(destination: Hl7Destination) -> str:
    """Connect, TLS included, and say nothing: any message would be filed. Why that fails, empty: it does not."""
    with opened(destination) as link:
        return link.message if isinstance(link, Verdict) else ""
