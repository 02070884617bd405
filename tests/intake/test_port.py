"""Servers that sleep until somebody comes."""

from __future__ import annotations

import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer

from spinepacs.intake.port import PatientServer


class Echo(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class Server(PatientServer, ThreadingTCPServer):
    pass


def test_a_server_that_sleeps_hears_who_comes_and_that_it_is_to_end() -> None:
    server = Server(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(3600,))  # it looks up by itself in an hour
    thread.start()
    for word in (b"one\n", b"two\n"):
        with socket.create_connection(server.server_address[:2]) as guest:
            guest.sendall(word)
            assert guest.makefile("rb").readline() == word
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_is_told_to_end_before_it_has_begun_is_waited_for() -> None:
    server = Server(("127.0.0.1", 0), Echo)
    closer = threading.Thread(target=lambda: (server.shutdown(), server.server_close()))
    closer.start()
    server._is_told.wait()
    server.serve_forever(3600)
    closer.join()
