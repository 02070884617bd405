"""A real mail server (aiosmtpd) of a test's own: with or without TLS and login, and it can be told to refuse."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from tests.peers import free_port


@dataclass
class Post:
    """What has come; ``answers`` are given to the next mails, one each, then all are taken."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    @property
    def mails(self) -> list[EmailMessage]:
        return [
            cast(EmailMessage, message_from_bytes(bytes(one.content or b""), policy=default))
            for one in self.envelopes
        ]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("250"):
            self.envelopes.append(envelope)
        return answer


@contextmanager
def mail_server(
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    password: str = "",
    port: int = 0,
) -> Iterator[Post]:
    """Take mail until the block ends; with a password only from ``spinepacs`` who knows it."""

    def knows(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        fits = isinstance(data, LoginPassword) and (data.login, data.password) == (
            b"spinepacs",
            password.encode(),
        )
        return AuthResult(success=fits, handled=False)

    post = Post(port or free_port())
    controller = Controller(
        post, hostname="127.0.0.1", port=post.port, ssl_context=tls, tls_context=starttls,
        require_starttls=starttls is not None, auth_required=bool(password), auth_require_tls=tls is None,
        authenticator=knows if password else None,
    )  # fmt: skip
    controller.start()
    try:
        yield post
    finally:
        controller.stop()
