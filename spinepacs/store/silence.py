"""Finding out that the other end of a connection to PostgreSQL is gone: its power is cut, or its cable."""

from __future__ import annotations


def probes(silence_s: int) -> tuple[str, dict[str, int]]:
    """How either end of a connection finds out within so long (s) that the other is gone without a word.

    Left alone, the server would keep the locks of a machine that is gone for two hours; and a machine that comes back
    would wait as long for an answer that was lost on the way, from a session that the server has given up.

    Returns
    -------
    Options of the server for its end, and libpq's arguments for ours.
    """
    idle_s = silence_s // 3
    keepalives = {
        "keepalives_idle": idle_s,
        "keepalives_interval": (silence_s - idle_s) // 3,
        "keepalives_count": 3,
    }
    unacknowledged = {"tcp_user_timeout": silence_s * 1000}
    of_server = {f"tcp_{name}": value for name, value in keepalives.items()} | unacknowledged
    return " ".join(f"-c {name}={value}" for name, value in of_server.items()), keepalives | unacknowledged
