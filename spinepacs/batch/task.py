"""What is wanted of all films of a batch, and with what they are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from spinepacs import __version__
from spinepacs.batch.pseudonym import name_of
from spinepacs.batch.sharing import Terms
from spinepacs.dicom.pictures import Pictures
from spinepacs.domain.findings import Versions
from spinepacs.errors import BadInput
from spinepacs.settings.settings import Settings

IDENTITY_COLUMNS = ("patient_id", "patient_age_years", "patient_sex", "study_date", "accession_number")
"""What is told of the patient and the study with ``--identity``, called as in the database's views."""


@dataclass(frozen=True)
class Task:
    """What is wanted of all films of a batch.

    Parameters
    ----------
    out
        Folder of the results.
    settings
        Model, policy, reading, output, selection, limits of time and memory.
    selects
        Whether the selection rules apply; else every radiograph is read: who names a file has selected it.
    pictures
        What is known of PNG and JPEG films: they have no header that says so.
    identity
        Whether the tables say whose films they are.
    page, page_identity
        Whether a page is written for each study, and whether it says whose films they are.
    fhir
        Whether a FHIR Bundle is written for each film.
    parquet
        Whether the tables are written as Parquet, too.
    threads
        Of each worker's network; 0: all cores.
    key
        Of the pseudonyms.
    """

    out: Path
    settings: Settings = field(default_factory=Settings)
    selects: bool = False
    pictures: Pictures = field(default_factory=Pictures)
    identity: bool = False
    page: bool = False
    page_identity: bool = False
    fhir: bool = False
    parquet: bool = False
    threads: int = 1
    key: bytes = field(default=b"", repr=False)

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """Columns beside the pseudonym."""
        return IDENTITY_COLUMNS if self.identity else ()

    def terms(self, versions: Versions) -> Terms:
        """Tell results apart that may differ: by program, model, policy and every setting that changes them.

        The files of model and policy count too: who tries thresholds need not count their versions up.
        """
        settings = self.settings
        files = (settings.model.folder / "manifest.toml", settings.model.policy)
        said = (
            __version__, asdict(versions), [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
            settings.output.model_dump(mode="json"),
            settings.selection.model_dump(mode="json") if self.selects else None,
            settings.reading.default_character_set, self.page or self.page_identity, self.page_identity, self.fhir,
        )  # fmt: skip
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]
        return Terms(digest, f"{name_of(self.key)} {' '.join(self.identity_columns)}".strip())

    def said_of(self, picture: Path) -> str:
        """What is stated of a picture, as far as another statement would be another film."""
        try:
            return repr(self.pictures.facts_of(picture))
        except BadInput as error:
            return error.reason_code
