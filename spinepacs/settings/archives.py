"""Archives that campaigns ask by C-FIND and C-MOVE over TLS: one table for each (docs/campaigns.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from spinepacs.settings.types import Section


class ArchiveSettings(Section):
    """What is spoken on one port of an archive; a port that no table names is spoken with in the clear."""

    host: str = Field(min_length=1)
    """As in ``--ae AE@host:port``."""
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: bool = True
    """Encrypt (PS3.15 B.12, BCP 195); the archive must prove who it is."""
    tls_ca: Path | None = None
    """Certificates of the authorities that vouch for it, PEM; not set: those of this machine."""
    tls_certificate: Path | None = None
    """Our certificate, PEM, where it asks for one; read anew for each connection."""
    tls_key: Path | None = None
    """Its key, PEM without passphrase; not set: in the same file."""
    tls_server_name: str = ""
    """Name that its certificate must hold; empty: ``host``."""
