"""A real daemon for tests: ``spinepacs serve`` in a process of its own, with short times and a made-up model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from spinepacs.cli.main import main
from spinepacs.store.ledger import Ledger
from tests import films, models, peers, phantoms

PHANTOM = phantoms.spine(left_px=[44, 44, 20, 44, 44], right_px=[34, 34, 14, 34, 34])
_QUICK = {
    "assembly": {"quiet_period_s": 0.3},
    "watch": {"settle_s": 0.3, "scan_interval_s": 0.3, "patience_s": 0.3},
    "work": {"poll_s": 0.05, "retry_wait_s": 0.1, "threads_per_worker": 1, "time_limit_s": 60},
}


def film(number: int | str, **elements: Any) -> films.FileDataset:
    """A lumbar film of a study of its own, in which the made-up model finds the phantom's vertebrae."""
    pixels = PHANTOM.picture().astype(np.uint16) * 16
    return films.make_dx(
        pixels, seed=str(number), study=f"study-{number}", **{"BodyPartExamined": "LSPINE", **elements}
    )


@dataclass
class Daemon:
    """A daemon, running or not; start it as often as you like."""

    config: Path
    settings: Mapping[str, Any]
    log: Path
    module: str = "spinepacs"
    """What is run; another one than the product's may put something into its way."""
    arguments: tuple[str, ...] = ()
    """Of the command line, beyond the settings."""
    prefix: tuple[str, ...] = ()
    """What stands before the command."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beyond this process's own."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Of the listener."""
        return int(self.settings["listener"]["port"])

    @property
    def host(self) -> str:
        """Where its listener and its health server listen."""
        return str(self.settings["listener"].get("bind", "127.0.0.1"))

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The last one that was started."""
        return self.processes[-1]

    def start(self) -> None:
        """Start it, without waiting."""
        with self.log.open("ab") as log:
            arguments = [
                *self.prefix,
                sys.executable,
                "-m",
                self.module,
                "serve",
                "--config",
                str(self.config),
            ]
            arguments += self.arguments
            environment = {**os.environ, **self.environment}
            self.processes.append(
                subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            )

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Wait until it says that it is ready."""
        peers.wait_until(lambda: self.http("/readyz")[0] == 200, timeout_s, f"a ready daemon; see {self.log}")

    def terminate(self, timeout_s: float = 30) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended after {timeout_s} s:\n{self.log.read_text()[-3000:]}") from None

    def http(self, path: str) -> tuple[int, str]:
        """Status and text of a path of the health server; status 0: it does not answer."""
        url = f"http://{self.host}:{self.settings['health']['port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ledger(self) -> Ledger:
        """Open its ledger; close it again."""
        return Ledger.open(self.settings["storage"]["database_url"])

    def command(self, *words: str, code: int | None = 0) -> str:
        """What a command of the administrator prints; it must end with ``code`` (None: however it ends).

        It is run in this process: to begin another one takes longer than the command itself.
        """
        done = CliRunner().invoke(main, [*words, "--config", str(self.config)], catch_exceptions=False)
        assert code in (done.exit_code, None), done.output
        return done.output

    def check(self, code: int = 0) -> str:
        """What ``spinepacs check`` prints: in a process of its own, since it takes the rights of another user."""
        words = [sys.executable, "-m", self.module, "check", "--user", "root", "--config", str(self.config)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def states(self) -> dict[str, int]:
        """Studies by state."""
        with self.ledger() as ledger:
            return ledger.counts().studies

    def pids(self, of: str) -> list[int]:
        """Process ids of its workers that were logged, oldest first."""
        return [int(pid) for pid in re.findall(rf"{of} is ready, pid (\d+)", self.log.read_text())]

    def kill(self) -> None:
        """Kill -9 of the supervisor: its children follow it."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def daemon(
    tmp_path: Path,
    destinations: Sequence[Mapping[str, Any]] = (),
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    **sections: Any,
) -> Iterator[Daemon]:
    """A configured daemon, not started; stopped at the end; its log is searched for patients' identities."""
    model = models.write_model(tmp_path / "model", PHANTOM)
    settings: dict[str, Any] = {
        "storage": {
            "spool": str(tmp_path / "spool"),
            "database_url": f"sqlite:///{tmp_path / 'ledger.sqlite'}",
            "reserve_mb": 0,
        },
        "listener": {"port": peers.free_port(), "processes": 2},
        "health": {"port": peers.free_port()},
        "web": {"enabled": False},
        "model": {"folder": str(model)},
        **{name: {**values, **sections.pop(name, {})} for name, values in _QUICK.items()},
        **sections,
    }
    config = tmp_path / "spinepacs.toml"
    config.write_text(_toml({**settings, "destinations": destinations}))
    made = Daemon(
        config, settings, tmp_path / "daemon.log", arguments=arguments, environment=environment or {}
    )
    try:
        yield made
    finally:
        for process in made.processes:
            peers.stop(process)
    if made.log.exists():
        text = made.log.read_text()
        assert not [secret for secret in films.SECRETS if secret in text], f"identity in {made.log}"


def _toml(settings: Mapping[str, Any]) -> str:
    tables = []
    for name, values in settings.items():
        is_list = not isinstance(values, Mapping)
        tables += [(f"[[{name}]]", each) for each in values] if is_list else [(f"[{name}]", values)]
    return "\n".join(
        "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])
        for head, values in tables
    )


def destination(port: int, name: str = "pacs", **values: Any) -> dict[str, Any]:
    """A destination on this machine with short times."""
    quick = {"timeout_s": 5, "retry_first_s": 0.2, "retry_longest_s": 1}
    return {"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": port, **quick, **values}
