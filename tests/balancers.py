"""HAProxy before listeners, with the configuration that is shipped: only addresses, ports and names are the test's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import peers

SHIPPED = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"


@contextmanager
def haproxy(
    folder: Path, listeners: Sequence[tuple[int, int | None]], *, version: int = 2, source: str = "127.0.0.1"
) -> Iterator[int]:
    """Balance between listeners, each with its DICOM port and that of its health page (None: it is not asked).

    Gives the balancer's port; ``source`` is the address from which it connects.
    """
    program, port = peers.require("haproxy"), peers.free_port()
    text, replaced = re.subn(
        r"^    bind :11112$", f"    bind 127.0.0.1:{port}", SHIPPED.read_text(), flags=re.M
    )
    assert replaced == 1
    if version == 1:
        text = text.replace("send-proxy-v2", "send-proxy")
    servers = "\n".join(_server(number, *ports) for number, ports in enumerate(listeners, 1))
    text, replaced = re.subn(r"^    server-template .*$", servers, text, flags=re.M)
    assert replaced == 1
    text = text.replace("balance leastconn", f"balance leastconn\n    source {source}")
    config = folder / f"haproxy-{port}.cfg"
    config.write_text(text)
    with peers.running([program, "-db", "-f", str(config)], folder / f"haproxy-{port}.log"):
        peers.wait_until(lambda: peers.listens(port), what=f"HAProxy on port {port}")
        yield port


def _server(number: int, port: int, health_port: int | None) -> str:
    asked = f"port {health_port}" if health_port else "no-check"
    return f"    server listener{number} 127.0.0.1:{port} {asked}"
