"""``spinepacs process``: the same pipeline over files and folders, without daemon and database."""

from __future__ import annotations

import csv
import errno
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.encaps import generate_frames

from spinepacs.dicom.pictures import Pictures
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.wrap import is_picture, wrap
from spinepacs.domain.findings import ImageResult, ObjectKind, Reading, Refusal
from spinepacs.errors import BadInput, BadSettings, SpinepacsError, failed
from spinepacs.intake.selection import no_film, select
from spinepacs.pipeline import Pipeline
from spinepacs.settings.sections import SelectionSettings
from spinepacs.show import tables
from spinepacs.show.page.pages import Pages

_RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RF", "XA", "RG", "OT", "SC", ""})
_TABLES: dict[str, tuple[Sequence[str], Callable[[str, Reading], list[tables.Row]]]] = {
    "readings": (tables.COLUMNS, tables.reading_to_rows),
    "measures": (tables.MEASURE_COLUMNS, tables.measures_to_rows),
    "findings": (tables.FINDING_COLUMNS, tables.findings_to_rows),
    "conclusions": (tables.CONCLUSION_COLUMNS, tables.conclusions_to_rows),
}
"""CSV files of a batch, with their columns and what gives their rows."""
_OBJECT_SUFFIX = {ObjectKind.SEG: ".seg.dcm", ObjectKind.SR: ".sr.dcm", ObjectKind.OVERLAY: ".overlay.dcm"}


@dataclass
class Summary:
    """What became of the files of one batch."""

    read: int = 0
    refused: int = 0
    """Not read, and trying again changes nothing: no film, no spine on it, a damaged file; as in the daemon."""
    failed: int = 0
    """Not read, though the file may be sound: it cannot be opened, results cannot be written, or a defect of ours."""
    skipped: int = 0
    """Files found in folders that are neither DICOM nor PNG nor JPEG."""
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    """File, code, reason: of each refused or failed file."""

    @property
    def exit_code(self) -> int:
        """0 when nothing failed (a refusal is an outcome and no failure, as in the daemon), else 1."""
        return 1 if self.failed else 0


def find_films(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """List the files to process, each with whether it was named itself (True) or found in a folder (False)."""
    found: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
                if file.is_file() and not hidden:
                    found.setdefault(file, False)
        else:
            found[path] = True
    return list(found.items())


class Batch:
    """Processes films one by one and writes everything below one folder.

    Parameters
    ----------
    pipeline
        The pipeline that the daemon uses too.
    out
        Folder of the results; made if absent.
    selection
        Selection rules, or None to read every radiograph that is given: who names a file has selected it.
    pictures
        What is known of PNG and JPEG films: they have no header that says so.
    pages
        Writes a page for each film, where asked for.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        out: Path,
        selection: SelectionSettings | None = None,
        *,
        pictures: Pictures | None = None,
        pages: Pages | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._pages = pages
        self._pictures = pictures or Pictures()
        self._out = out
        self._selection = selection
        self._stems: set[str] = set()
        self._json: list[dict[str, Any]] = []
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}

    def run(self, films: Sequence[tuple[Path, bool]], on_film: Callable[[Path, str], None]) -> Summary:
        """Process the films; ``on_film`` is told each file and its outcome (read, refused, failed, skipped).

        A file that cannot be read costs nothing but itself.

        Raises
        ------
        BadSettings
            If the folder of the results cannot be written: before any film is read, or at the end, when the disk is
            full.
        """
        with _writing(self._out):
            self._try_out()
        summary = Summary()
        for path, named in films:
            outcome, code, reason = self._process(path, named)
            setattr(summary, outcome, getattr(summary, outcome) + 1)
            if outcome in ("refused", "failed"):
                summary.problems.append((str(path), code, reason))
            on_film(path, outcome)
        with _writing(self._out):
            self._write_tables()
        return summary

    def _try_out(self) -> None:
        """Find out whether results can be written; those of an earlier batch stay until there are new ones."""
        self._out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._out) as file:
            file.write(b"\0")
        for table in (self._out / "readings.json", *(self._out / f"{name}.csv" for name in _TABLES)):
            if table.exists():
                table.open("ab").close()

    def _process(self, path: Path, named: bool) -> tuple[str, str, str]:
        """Outcome, code and reason of one file."""
        try:
            with self._as_dicom(path) as film:
                refusal = self._not_for_us(film)
                if refusal is None:
                    refusal = self._read(path, film)
        except BadInput as error:  # the file's own fault: refused, as in the daemon
            skipped = error.reason_code in ("NOT_DICOM", "DICOMDIR") and not named
            return "skipped" if skipped else "refused", error.reason_code, str(error)
        except SpinepacsError as error:
            return "failed", type(error).__name__.upper(), str(error)
        except OSError as error:
            return "failed", "CANNOT_READ_OR_WRITE", f"{error.strerror}: {error.filename}"
        except Exception as error:  # a defect of ours costs this file and not the batch
            answer = failed(error)
            return "failed", answer.reason_code, answer.reason
        return ("refused", refusal.code, refusal.reason) if refusal else ("read", "", "")

    @contextmanager
    def _as_dicom(self, path: Path) -> Iterator[Path]:
        """The file itself, or a picture wrapped as DICOM for as long as it is needed."""
        if not is_picture(path):
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="spinepacs-") as folder:
            film = Path(folder, "film.dcm")
            wrap(path, film, self._pictures.facts_of(path))
            yield film

    def _not_for_us(self, film: Path) -> Refusal | None:
        header = read_header(film, self._pipeline.character_set)
        if self._selection:
            return select(header, self._selection, calling_ae="")
        if refusal := no_film(header):
            return refusal
        if header.modality not in _RADIOGRAPH_MODALITIES:
            return Refusal("NOT_SELECTED", "Modality is not that of a radiograph")
        return None

    def _read(self, path: Path, film: Path) -> Refusal | None:
        image = self._pipeline.read_or_refuse(film)
        self._json.append(tables.reading_to_json(str(path), image.reading))
        for name, (_, to_rows) in _TABLES.items():
            self._rows[name].extend(to_rows(str(path), image.reading))
        stem = self._stem(path)
        self._write_objects(stem, image)
        if self._pages:
            self._pages.add(stem, image, read_header(film, self._pipeline.character_set))
        return image.reading.refusal

    def _stem(self, path: Path) -> str:
        """Name for the results of a film: the film's own, numbered where two films share it."""
        stem, number = path.stem, 1
        while stem in self._stems:
            number += 1
            stem = f"{path.stem}-{number}"
        self._stems.add(stem)
        return stem

    def _write_objects(self, stem: str, image: ImageResult) -> None:
        for item in image.objects:
            (self._out / f"{stem}{_OBJECT_SUFFIX[item.kind]}").write_bytes(item.part10)
            if item.kind is ObjectKind.OVERLAY:
                (self._out / f"{stem}.overlay.jpg").write_bytes(_jpeg(item.part10))

    def _write_tables(self) -> None:
        with (self._out / "readings.json").open("w", encoding="utf-8") as file:
            json.dump(self._json, file, indent=1, allow_nan=False)
        for name, (columns, _) in _TABLES.items():
            with (self._out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(self._rows[name])


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say in one line that the folder of the results cannot be written."""
    try:
        yield
    except OSError as error:
        what = "is full" if error.errno == errno.ENOSPC else f"cannot be written ({error.strerror})"
        raise BadSettings(f"--out {out}: {what}; give a folder that this user may write to") from None


def _jpeg(overlay: bytes | memoryview) -> bytes:
    """The one JPEG frame of an overlay object, as it is."""
    return next(generate_frames(dcmread(BytesIO(overlay)).PixelData, number_of_frames=1))
