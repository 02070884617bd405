"""The console as a part of the daemon: it comes with it, and whatever becomes of it harms no film."""

from __future__ import annotations

import os
import re
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pynetdicom import AE

from spinepacs.store.accounts import AccountRole, sha256_of
from spinepacs.web.guard import COOKIE
from tests import peers
from tests.daemons import Daemon, daemon, film
from tests.web.consoles import Visitor, password_hash


def send(running: Daemon, number: int) -> None:
    """One film by C-STORE."""
    dataset = film(number)
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", running.port, ae_title="SPINEPACS")
    assert association.send_c_store(dataset).Status == 0x0000
    association.release()


def visitor(running: Daemon, port: int) -> Visitor:
    with running.ledger() as ledger:
        ledger.accounts.add("anna", AccountRole.READER, password_hash())
        ledger.accounts.log_in(sha256_of("token"), "anna", "", datetime.now(UTC) + timedelta(hours=1))
    return Visitor(port, {COOKIE: "token"})


def test_the_daemon_shows_a_film_that_it_has_read(tmp_path: Path) -> None:
    port = peers.free_port()
    with daemon(tmp_path, web={"port": port}) as running:
        running.start()
        running.wait_ready()
        send(running, 1)
        peers.wait_until(lambda: running.states() == {"delivered": 1}, 60, "the study")
        person = visitor(running, port)
        (study,) = re.findall(r'href="/studies/([\d.]+)"', person.get("/studies").text)
        page = person.get(f"/studies/{study}").text
        (picture,) = re.findall(r'<image href="([^"]+)"', page)
        answer = person.get(picture)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg"), answer.text
        assert "SECRET-4711" in page, "whoever is logged in sees whose film it is"
        # The picture's process was the console's own child, and is gone.
        (console,) = running.pids("web")
        peers.wait_until(lambda: len(peers.grandchildren(console)) == 0, 20, "the end of the darkroom")
        os.kill(console, signal.SIGKILL)
        peers.wait_until(lambda: len(running.pids("web")) == 2, 30, "another console")
        assert running.http("/readyz")[0] == 200
        assert person.get("/queue").status == 200, "the session is in the database"
        assert running.terminate() == 0


def test_a_port_that_is_taken_harms_no_film_and_is_said_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with daemon(tmp_path, web={"port": port}) as running:
            running.start()
            running.wait_ready()
            send(running, 1)
            peers.wait_until(lambda: running.states() == {"delivered": 1}, 60, "the study")
            assert running.http("/readyz")[0] == 200
            taken.close()
            peers.wait_until(lambda: bool(running.pids("web")), 30, "the console, when the port is free")
            assert running.log.read_text().count("no console: cannot listen") == 1
            assert visitor(running, port).get("/queue").status == 200
            assert running.terminate() == 0


def test_without_it_in_the_settings_there_is_none(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        running.start()
        running.wait_ready()
        assert "console" not in running.log.read_text()
        assert running.terminate() == 0
