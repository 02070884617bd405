"""Worker processes that do what the image's SOP UID asks for: crash, hang, fail, or read it."""

from __future__ import annotations

import ctypes
import os
import re
import time
from multiprocessing.connection import Connection

import numpy as np

from spinepacs.children import limit_memory
from spinepacs.errors import MEMORY_LIMIT, Failed
from spinepacs.serve.jobs import JOBS, Answer, Done, Job, Ready, RegistrationJob, StudyJob, pack
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim
from tests.store import makers

CRASH, HANG, BROKEN, BUSY, GARBLED, STUCK = "1.2.66", "1.2.77", "1.2.88", "1.2.99", "1.2.55", "1.2.44"
SEGFAULT, SPIN, GLUTTON = "1.2.33", "1.2.22", "1.2.11"
"""Beginnings of SOP UIDs."""


def work(channel: Connection, url: str) -> None:
    """Be a worker without model: reads headers from the SOP UID, and records made-up results."""
    ledger = Ledger.open(url, migrate=False)
    channel.send_bytes(pack(Ready(makers.VERSIONS)))
    limit_memory(512)
    while True:
        try:
            job = JOBS.validate_json(channel.recv_bytes())
        except (EOFError, OSError):
            return
        channel.send_bytes(_do(ledger, job))


def refuse_to_start(channel: Connection, url: str) -> None:
    """Be a worker whose model is broken."""
    channel.send_bytes(pack(Failed("BADMODEL", "model.onnx was altered", False)))


def _do(ledger: Ledger, job: Job) -> bytes:
    if isinstance(job, RegistrationJob):
        stuck = [arrival for arrival in job.arrivals if arrival.sop_uid.startswith(STUCK)]
        for arrival in job.arrivals:
            if arrival in stuck:
                continue
            study_uid = arrival.sop_uid.rpartition(".")[0]
            ledger.register(arrival.arrival_id, makers.header(arrival.sop_uid, study_uid), None)
        return pack(Failed("TRANSIENT", "the disk fails", True) if stuck else Done())
    assert isinstance(job, StudyJob)
    if job.claim.study_uid.startswith(GARBLED):
        return b"\x80\x04 not an answer"
    return pack(_read(ledger, job.claim))


def _read(ledger: Ledger, claim: Claim) -> Answer:
    if claim.study_uid.startswith(CRASH):
        os._exit(3)
    if claim.study_uid.startswith(SEGFAULT):
        ctypes.string_at(0)
    if claim.study_uid.startswith(SPIN):
        re.match("(a+)+$", "a" * 64 + "b")
    if claim.study_uid.startswith(GLUTTON):
        return _eat()
    if claim.study_uid.startswith(HANG):
        time.sleep(3600)
    if claim.study_uid.startswith(BROKEN):
        return Failed("DAMAGED_DATASET", "cannot be read", False)
    if claim.study_uid.startswith(BUSY):
        return Failed("TRANSIENT", "the disk is full", True)
    result = makers.result_of(claim)
    ledger.record(claim, result, makers.stored(result), ())
    return Done()


def _eat() -> Answer:
    """Allocate more than is allowed, as a decompression bomb would."""
    try:
        eaten = [np.empty(64 << 20, np.uint8) for _ in range(100)]
    except MemoryError:
        return Failed(MEMORY_LIMIT, "it asked for too much", True)
    return Failed("ATE", f"{len(eaten)} pieces", False)
