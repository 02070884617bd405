"""Names for patients that mean nothing, and are the same for the same patient in every run and on every machine.

HMAC-SHA-256 (RFC 2104) of the patient ID with a secret key. Without the key nobody finds out by trying all patient IDs
whose a pseudonym is; with it anyone does, so it is kept like the identities themselves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from spinepacs.batch.folder import INNER, writing
from spinepacs.domain.study import StudyHeader
from spinepacs.errors import BadSettings
from spinepacs.store.durable import sync_folder

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 32
_SHORTEST_KEY_BYTES = 16
_WAIT_S = 10.0


def pseudonym(key: bytes, header: StudyHeader) -> str:
    """Pseudonym of a film's patient: ``P`` and 16 letters and digits (80 bits).

    Films without patient ID may be anybody's: they have one for each study, which begins with ``S``.
    """
    kind, text = ("P", header.patient_id) if header.patient_id else ("S", header.study_uid)
    digest = hmac.new(key, f"{kind}|{text}".encode(errors="surrogateescape"), hashlib.sha256).digest()
    return kind + base64.b32encode(digest[:10]).decode()


def name_of(key: bytes) -> str:
    """What tells keys apart, and says nothing of them."""
    return hmac.new(key, b"name of this key", hashlib.sha256).hexdigest()[:16]


def key_of(out: Path, given: Path | None) -> bytes:
    """The key of one ``--out``: the one that is given, else its own, made the first time.

    Raises
    ------
    BadSettings
        If the given file cannot be read, or is too short to be a secret, or none can be made.
    """
    if given is None:
        with writing(out):
            return _own_key(out / INNER / KEY_FILE)
    try:
        key = given.read_bytes().strip()
    except OSError as error:
        raise BadSettings(f"--pseudonym-key {given}: cannot be read ({error.strerror})") from None
    if len(key) < _SHORTEST_KEY_BYTES:
        raise BadSettings(
            f"--pseudonym-key {given}: shorter than {_SHORTEST_KEY_BYTES} bytes; `openssl rand -hex 32` makes one"
        )
    return key


def _own_key(path: Path) -> bytes:
    """Read the key, or make it; of several who make one at once, all take that of the first."""
    part = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with part.open("xb") as file:
            part.chmod(0o600)
            file.write(secrets.token_hex(_KEY_BYTES).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with suppress(FileExistsError), path.open("xb") as file:
                file.write(part.read_bytes())
        part.unlink()
        sync_folder(path.parent)
    until_s = time.monotonic() + _WAIT_S
    while len(key := path.read_bytes()) < 2 * _KEY_BYTES:
        if time.monotonic() > until_s:
            raise BadSettings(f"{path}: no key is in it; remove it, and another one is made")
        time.sleep(0.1)
    return key
