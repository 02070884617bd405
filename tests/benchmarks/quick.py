"""``spinepacs serve`` with workers that answer at once: ``python -m tests.benchmarks.quick serve …``.

Everything is the product's but for what a worker reads: a made-up result with three objects, which are stored and
recorded as any other, and sleep or computation before it where ``QUICK_SLEEP_S`` or ``QUICK_COMPUTE_S`` ask for it.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection

from spinepacs.cli import main as cli
from spinepacs.serve import daemon
from spinepacs.settings.settings import Settings

SLEEP, COMPUTE = "QUICK_SLEEP_S", "QUICK_COMPUTE_S"
_OBJECT = b"\x00" * 20_000


def read(channel: Connection, settings: Settings) -> None:
    """Be a worker process."""
    from spinepacs.serve.jobs import JOBS, Done, Ready, RegistrationJob, pack
    from spinepacs.store.ledger import Ledger
    from spinepacs.store.spools import open_spool
    from tests.store import makers

    spool = open_spool(settings.storage, machines=settings.cluster.enabled)
    ledger = Ledger.open(settings.storage.database_url, migrate=False)
    channel.send_bytes(pack(Ready(makers.VERSIONS)))
    while True:
        try:
            job = JOBS.validate_json(channel.recv_bytes())
        except (EOFError, OSError):
            return
        if isinstance(job, RegistrationJob):
            for arrival in job.arrivals:
                study_uid = arrival.sop_uid.rpartition(".")[0]
                ledger.register(arrival.arrival_id, makers.header(arrival.sop_uid, study_uid), None)
        else:
            _work()
            result = makers.result_of(job.claim)
            made = [item for image in result.images for item in image.objects]
            kept = spool.add_together([item.sop_uid.encode() + _OBJECT for item in made])
            stored = {item.sop_uid: file.sha256 for item, file in zip(made, kept, strict=True)}
            ledger.record(job.claim, result, stored, settings.destinations)
        channel.send_bytes(pack(Done()))


def _work() -> None:
    time.sleep(float(os.environ.get(SLEEP, "0")))
    until_s = time.process_time() + float(os.environ.get(COMPUTE, "0"))
    while time.process_time() < until_s:
        pass


if __name__ == "__main__":
    daemon.read = read
    sys.exit(cli.main())
