"""Files whose blocks of zeros are left out: most of a segmentation is empty, and a hole costs neither disk nor time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)


def write_with_holes(path: Path, data: bytes | memoryview) -> str:
    """Write a new file (0600), as if it were written whole to whoever reads it; its SHA-256.

    Raises
    ------
    OSError
        If the disk fails, or the file is there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for start in range(0, len(data), _BLOCK_BYTES):
            block = bytes(data[start : start + _BLOCK_BYTES])
            if block != _ZEROS[: len(block)]:
                _write_at(descriptor, block, start)
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)
    return hashlib.sha256(data).hexdigest()


def _write_at(descriptor: int, block: bytes, start: int) -> None:
    """Write a block whole: the kernel may take it in parts."""
    while block:
        written = os.pwrite(descriptor, block, start)
        block, start = block[written:], start + written
