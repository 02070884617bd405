"""Certificates for tests, made with the ``openssl`` command: an authority, and who it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.peers import require

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Identity:
    """PEM files of somebody."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority(Identity):
    """Somebody who vouches for others."""

    def issue(self, folder: Path, name: str, san: str = "IP:127.0.0.1", rsa: bool = False) -> Identity:
        """Make a key and a certificate for ``name``; files of that name are replaced in one step each."""
        made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
        request, more = folder / f"{name}.csr", folder / f"{name}.ext"
        more.write_text(f"subjectAltName={san}\n")
        key = ["-newkey", "rsa:2048", "-nodes"] if rsa else _KEY
        new_certificate, new_key = folder / f"{name}.pem.new", folder / f"{name}.key.new"
        _openssl("req", *key, "-keyout", new_key, "-out", request, "-subj", f"/CN={name}")
        signed = ["-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "2"]
        _openssl("x509", "-req", "-in", request, *signed, "-extfile", more, "-out", new_certificate)
        new_key.replace(made.key)
        new_certificate.replace(made.certificate)
        return made


def authority(folder: Path, name: str = "authority") -> Authority:
    """Make an authority."""
    made = Authority(folder / f"{name}.pem", folder / f"{name}.key")
    own = ["-x509", "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign"]
    _openssl("req", *_KEY, *own, "-keyout", made.key, "-out", made.certificate)
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([require("openssl"), *map(str, arguments)], check=True, capture_output=True)
