"""One for each ``[[notifications]]``: tells what is due, and writes down how that went.

At least once, and the same batch under the same identity: a receiver that has it already can tell. A mail server that
is down holds up nobody but its own herald, and what is to be told waits in the ledger.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from spinepacs.cluster.roles import machine_name
from spinepacs.errors import Transient
from spinepacs.notify import mail, webhook
from spinepacs.notify.digest import Digest, Told, digest
from spinepacs.outages import Outage
from spinepacs.settings.notifications import Channel, MailNotification
from spinepacs.store.exclusive import Turn, Unrivalled
from spinepacs.store.ledger import Ledger
from spinepacs.store.notices import Batch, Notice

GIVE_UP_S = 7 * 24 * 3600.0
"""What could not be told for so long (s) is given up: nobody wants to hear of it any more."""
_log = logging.getLogger(__name__)


class Herald:
    """See the module.

    Parameters
    ----------
    channel
        Whom to tell, and how.
    ledger
        Opened by this process.
    turn
        One herald of a channel speaks at a time, on whatever machine.
    """

    def __init__(self, channel: Channel, ledger: Ledger, turn: Turn | None = None) -> None:
        self._channel = channel
        self._ledger = ledger
        self._turn = turn or Unrivalled()
        self._outage = Outage(_log, f"notification {channel.name}")

    def run(self, stop: threading.Event, poll_s: float) -> None:
        """Tell until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            try:
                if self._turn.take():
                    self.tell()
            except Transient as error:
                self._outage.lasts(error)
            except Exception:
                _log.exception("defect in a notification", extra={"notification": self._channel.name})
                stop.wait(30.0)
            stop.wait(poll_s)
        self._turn.close()

    def tell(self) -> bool:
        """Tell what is due now; whether there was something, told or not.

        Raises
        ------
        Transient
            If the database is away.
        """
        channel = self._channel
        batch = self._ledger.notices.begin(channel.name, channel.gather_s, channel.interval_s, channel.wait_s)
        if batch is None:
            return False
        studies = sorted({notice.study_uid for notice in batch.items} - {""})
        patients = self._ledger.notices.whose(studies) if channel.with_identity else {}
        told = send(channel, digest(batch, channel, machine_name(), patients))
        if told.is_told:
            self._ledger.notices.sent(batch, told.message)
            self._outage.over()
            _log.info("told %s of %d things", channel.name, sum(batch.counts.values()))
        else:
            is_over = (datetime.now(UTC) - batch.oldest_at).total_seconds() > GIVE_UP_S
            self._ledger.notices.not_sent(batch, told.message, is_over)
            self._outage.lasts(told.message)
        return True


def send(channel: Channel, said: Digest) -> Told:
    """Send a digest in the way of the channel's kind."""
    return mail.send(channel, said) if isinstance(channel, MailNotification) else webhook.send(channel, said)


def probe(channel: Channel) -> str:
    """Connect to whoever takes messages and send none; why that does not work, empty: it does."""
    return mail.probe(channel) if isinstance(channel, MailNotification) else webhook.probe(channel)


def send_test(channel: Channel) -> Told:
    """Send a message that says that it is a test."""
    return send(channel, directly(channel, "test", "", {}))


def directly(channel: Channel, kind: str, subject: str, detail: dict[str, str]) -> Digest:
    """Make a digest of something that is not in the ledger."""
    now = datetime.now(UTC)
    notice = Notice(0, kind, subject, "", detail, now, None)
    uid = f"{kind}-{int(now.timestamp() * 1000)}"
    return digest(Batch(uid, 1, now, {kind: 1}, [notice]), channel, machine_name())
