"""A study as one file to be looked at and printed: each film a page of HTML with its picture, tables and conclusions.

A page names nobody unless it is asked to; it is a finding for a physician, never a diagnosis.
"""

from __future__ import annotations

from pathlib import Path

from spinepacs.domain.findings import ImageResult
from spinepacs.domain.study import StudyHeader
from spinepacs.show.page.article import article, study_name
from spinepacs.show.page.html import document


class Pages:
    """Writes the page of each film to the file of its study, as soon as it is read.

    The file is called after the study's first film. It is whole after every film, and no film is kept in memory.

    Parameters
    ----------
    folder
        Where the files are written.
    with_identity
        Whether the pages say whose films they are: patient ID, sex, age and accession number of the header.
    """

    def __init__(self, folder: Path, *, with_identity: bool = False) -> None:
        self._folder, self._with_identity = folder, with_identity
        self._files: dict[str, Path] = {}

    def add(self, stem: str, result: ImageResult, header: StudyHeader) -> Path:
        """Append one film; ``stem`` names the file if it is the study's first. Returns the file."""
        file = self._files.get(header.study_uid)
        if file is None:
            file = self._files[header.study_uid] = self._folder / f"{stem}.page.html"
            file.write_text(document(f"Spine findings, {study_name(header)}"), encoding="utf-8")
        with file.open("a", encoding="utf-8") as page:
            page.write(article(result, header, with_identity=self._with_identity) + "\n")
        return file
