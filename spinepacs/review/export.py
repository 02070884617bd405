"""All films whose current reading is a person's, as labelled films for ``train`` and ``evaluate``."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from spinepacs.domain.findings import Refusal
from spinepacs.review import films
from spinepacs.review.preview import Reviewer
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger


def export(settings: Settings, ledger: Ledger, folder: Path) -> Iterator[Refusal | None]:
    """Write them one after another; for each film None, or why it could not be written.

    Files are named PATIENT-CORRECTION.png by words that mean nothing elsewhere: films of one patient begin alike, so
    that a split by group can keep them together (``group = '^([0-9a-f]+)-'``).

    Raises
    ------
    BadSettings
        If the folder is not empty.
    """
    films.begin(folder)
    key = secrets.token_bytes(32)  # kept nowhere: nobody can try patient IDs until one fits
    with Reviewer(settings) as reviewer:
        for sop_uid, patient_id, uid in ledger.corrections.corrected_films():
            patient = hashlib.blake2b((patient_id or sop_uid).encode(), key=key, digest_size=6).hexdigest()
            yield reviewer.write(sop_uid, folder, f"{patient}-{uid}")
