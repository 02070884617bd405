"""An S3 server for tests: moto's, in a process of its own, behind a door that can be shut.

What it does not prove: durability (objects are in memory), consistency between servers, how a real one rejects a wrong
key or a body that was altered on its way, and its speed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

from tests.peers import free_port, listens, stop, wait_until


@dataclass
class S3:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]
    address: str = "127.0.0.1"
    """Under which others reach it."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells a client where it is."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.address}:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> str:
        """Make a bucket; its URL."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own server
            return f"s3://{name}"

    def empty_bucket(self, name: str) -> None:
        """Lose all that a bucket holds."""
        bucket = boto3.resource(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - moto asks for none
        ).Bucket(name)
        bucket.objects.all().delete()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let it answer nobody, and keep what it holds."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def s3(folder: Path, address: str = "127.0.0.1") -> Iterator[S3]:
    """Start one; at another address than this machine's own it must be in a network of its own (``wires``)."""
    port, bind = free_port(), address if address == "127.0.0.1" else "0.0.0.0"  # noqa: S104
    with (folder / "s3.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", bind, "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: listens(port), 60, "the S3 server")
        yield S3(port, process, address)
    finally:
        stop(process)
