"""The gate over several real listener processes, and what the daemon's metrics tell of it."""

from __future__ import annotations

import socket
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import films, peers
from tests.certificates import authority
from tests.daemons import Daemon, daemon, film
from tests.intake.doors import REJECTED_FOR_NOW, answer, request

pytestmark = pytest.mark.peer


def figures(running: Daemon) -> dict[str, float]:
    """What the metrics tell of the network; of those turned away by reason, if any."""
    samples = [
        sample
        for family in text_string_to_metric_families(running.http("/metrics")[1])
        for sample in family.samples
    ]
    wanted = ("spinepacs_connections", "spinepacs_associations_total")
    counts = {sample.name: sample.value for sample in samples if sample.name in wanted}
    turned = {
        sample.labels["reason"]: sample.value for sample in samples if "turned_away_total" in sample.name
    }
    return counts | {reason: number for reason, number in turned.items() if number}


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def test_processes_count_one_address_together_and_the_metrics_tell(tmp_path):
    listener = {"port": peers.free_port(), "processes": 3, "maximum_associations_per_peer": 6}
    with daemon(tmp_path, listener=listener) as running:
        running.start()
        running.wait_ready()
        seated = []
        for number in range(
            1, 7
        ):  # one after the other: those that come in the same moment may be one too many
            seated.append(connect(running.port))
            peers.wait_until(
                lambda n=number: figures(running)["spinepacs_connections"] == n, what="one place more taken"
            )
        with connect(running.port) as seventh:
            seventh.sendall(request())
            assert answer(seventh) == REJECTED_FOR_NOW + b"\x02"
        seated.pop().close()
        peers.wait_until(lambda: figures(running)["spinepacs_connections"] == 5, what="a free place")
        with connect(running.port) as another:
            another.sendall(request())
            assert answer(another)[:1] == b"\x02"
        peers.wait_until(lambda: figures(running)["spinepacs_associations_total"] == 1, what="the metrics")
        assert figures(running)["association_limit"] == 1
        for connection in seated:
            connection.close()


def test_a_daemon_with_tls_takes_images_and_one_without_its_key_does_not_start(tmp_path):
    ours = authority(tmp_path)
    server, modality = (ours.issue(tmp_path, name) for name in ("server", "modality"))
    listener = {
        "port": peers.free_port(),
        "tls": True,
        "tls_certificate": str(server.certificate),
        "tls_key": str(modality.key),
        "tls_ca": str(ours.certificate),
    }
    with daemon(tmp_path, listener=listener) as running:
        running.start()
        assert running.process.wait(30) != 0
        assert "KEY_VALUES_MISMATCH" in running.log.read_text()

        running.config.write_text(running.config.read_text().replace(str(modality.key), str(server.key)))
        running.start()
        running.wait_ready()
        sent = films.write(film(1), tmp_path / "film.dcm")
        proof = ["+tls", modality.key, modality.certificate, "+cf", ours.certificate, "-aec", "SPINEPACS"]
        command = [peers.require("storescu"), *proof, "127.0.0.1", running.port, sent]
        assert subprocess.run([str(part) for part in command], timeout=30, check=False).returncode == 0
        peers.wait_until(lambda: running.states() == {"delivered": 1}, 30, "the study")
