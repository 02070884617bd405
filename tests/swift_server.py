"""Runs one of OpenStack Swift's servers: ``python -m tests.swift_server proxy FOLDER``; see ``peers_swift``."""

from __future__ import annotations

import sys
from pathlib import Path


def main(kind: str, folder: str) -> int:
    """Serve until a signal ends it. Swift's own commands look for its settings in /etc/swift alone."""
    from swift.common import storage_policy, utils

    utils.SWIFT_CONF_FILE = str(Path(folder, "swift.conf"))
    utils.validate_hash_conf()
    storage_policy.reload_storage_policies()
    from swift.common.wsgi import run_wsgi

    return int(run_wsgi(str(Path(folder, f"{kind}.conf")), f"{kind}-server") or 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
