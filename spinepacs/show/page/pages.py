"""A study as one file to be looked at and printed: each film a page of HTML with its picture, tables and conclusions.

A page names nobody unless it is asked to; it is a finding for a physician, never a diagnosis.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from spinepacs.domain.findings import ImageResult
from spinepacs.domain.study import StudyHeader
from spinepacs.show.page.article import article, page_title
from spinepacs.show.page.html import document

_ARTICLE, _PAGE = ".html", ".page.html"


class Pages:
    """Writes the page of each film to the file of its study, as soon as it is read.

    The file is called after the study's first film, by name. It is whole after every film, whatever process has read
    the others, and no film is kept in memory.

    Parameters
    ----------
    folder
        Where the files are written.
    articles
        Folder on the same file system where each film's page is kept by itself: ``STUDY/FILM.html``.
    with_identity
        Whether the pages say whose films they are: patient ID, sex, age and accession number of the header.
    """

    def __init__(self, folder: Path, articles: Path, *, with_identity: bool = False) -> None:
        self._folder, self._articles, self._with_identity = folder, articles, with_identity

    def add(self, stem: str, result: ImageResult, header: StudyHeader) -> Path:
        """Add one film, or put it in the place of its earlier page; ``stem`` names it. Returns the study's file."""
        study = self._articles / hashlib.sha256(header.study_uid.encode()).hexdigest()[:32]
        study.mkdir(parents=True, exist_ok=True)
        _put(
            study / f"{stem}{_ARTICLE}",
            article(result, header, with_identity=self._with_identity) + "\n",
            stem,
        )
        title = page_title(header)
        while True:
            stems = _stems(study)
            page = self._bind(study, stems, title, stem)
            if _stems(study) == stems:  # else another process has added a film meanwhile
                return page

    def _bind(self, study: Path, stems: list[str], title: str, by: str) -> Path:
        """Write the study's file of all that is there, and remove those that were called after a later film."""
        parts = (
            document(title),
            *((study / f"{stem}{_ARTICLE}").read_text(encoding="utf-8") for stem in stems),
        )
        page = self._folder / f"{stems[0]}{_PAGE}"
        _put(page, "".join(parts), by, study)
        for stem in stems[1:]:
            (self._folder / f"{stem}{_PAGE}").unlink(missing_ok=True)
        return page


def _stems(study: Path) -> list[str]:
    return sorted(file.name.removesuffix(_ARTICLE) for file in study.glob(f"*{_ARTICLE}"))


def _put(path: Path, text: str, by: str, folder: Path | None = None) -> None:
    """Write a file whole; ``by`` is the film in whose name it is written, of which there is one at a time."""
    part = (folder or path.parent) / f"{by}.part"
    part.write_text(text, encoding="utf-8")
    part.replace(path)
