"""What came in: arrivals, studies, and the radiograph as the analysis sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from spinepacs.domain.geometry import Spacing, Turn
from spinepacs.later import Later

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray
else:
    np = Later("numpy")

OWN_RESULT, NO_RADIOGRAPH = "OWN_RESULT", "NO_RADIOGRAPH"
NO_FILM = frozenset({OWN_RESULT, NO_RADIOGRAPH})
"""Reasons of what is no film and never will be, whatever the rules and the model are."""


class View(StrEnum):
    """Projection of a radiograph."""

    AP = "AP"
    """Antero-posterior or postero-anterior; ``Radiograph.flipped`` does not matter for it."""
    LATERAL = "LATERAL"
    OBLIQUE = "OBLIQUE"
    UNKNOWN = "UNKNOWN"


class Source(StrEnum):
    """The way an image came in."""

    NETWORK = "network"
    DICOMWEB = "dicomweb"
    FOLDER = "folder"
    COMMAND = "command"
    SPOOL = "spool"
    """Found in the spool without a row: after a crash before the commit, or with an older copy of the database."""
    CAMPAIGN = "campaign"
    """Only a campaign has brought it: it is read for that, and never as part of the day's work."""


class StudyState(StrEnum):
    """Where a study stands.

    ``arriving → ready → working → recorded → delivered``; side exits ``refused`` and ``failed``.
    """

    ARRIVING = "arriving"
    """Images are coming in; the quiet period has not passed."""
    READY = "ready"
    """Complete as far as anyone knows; waits for a worker."""
    WORKING = "working"
    """A worker holds it; the attempt is already counted."""
    RECORDED = "recorded"
    """Findings and outbox are committed; something is still to be delivered."""
    DELIVERED = "delivered"
    """Every object has been accepted, and committed where that is asked for (or there was nothing to deliver)."""
    REFUSED = "refused"
    """An expected outcome: no image of it was one that we read; the reason says why."""
    FAILED = "failed"
    """Dead letter: attempts used up or input broken; kept, with its reason, until someone decides."""


@dataclass(frozen=True)
class Arrival:
    """One stored file, as it came in. Times are UTC and zone-aware.

    ``study_uid`` and what follows are unknown (None) until the header has been read.
    """

    arrival_id: int
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    source: Source
    calling_ae: str
    received_at: datetime
    study_uid: str | None = None
    series_uid: str | None = None


@dataclass(frozen=True)
class StudyHeader:
    """What a file's header says about itself, without pixels: for the ledger and for selection.

    Every text but identifiers is stripped; what is missing or not valid is empty (``None`` for the age).

    Parameters
    ----------
    study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid
        DICOM UIDs; never empty.
    modality, body_part
        Upper case.
    descriptions
        Study, series, protocol, view and anatomic descriptions that are not empty; no patient identity.
    patient_id, accession_number
        As they stand, without the padding at their end. For the database only: never for a log or an exception.
    patient_sex
        ``M``, ``F``, ``O`` or empty.
    patient_age_years
        From PatientAge, else from birth date and study date; years.
    study_date
        ``YYYYMMDD`` or empty.
    priority
        RequestedProcedurePriority (0040,1003), upper case: STAT, HIGH, ROUTINE, MEDIUM, LOW, or empty.
    issuer_of_patient_id
        IssuerOfPatientID, as ``patient_id``.
    is_ours
        True for SEG, SR and Secondary Capture objects that spinepacs itself wrote.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    body_part: str
    descriptions: tuple[str, ...]
    patient_id: str
    patient_sex: str
    patient_age_years: float | None
    study_date: str
    accession_number: str
    study_description: str
    manufacturer: str
    is_ours: bool
    priority: str = ""
    issuer_of_patient_id: str = ""


@dataclass(frozen=True)
class FilmOwner:
    """Whose film it is, as far as documents for other systems say it. Never for a log or an exception.

    Parameters
    ----------
    patient_id, accession_number
        As the header has them; empty: not stated.
    study_date
        ``YYYYMMDD`` or empty.
    """

    patient_id: str = ""
    accession_number: str = ""
    study_date: str = ""


@dataclass(frozen=True, eq=False)
class PixelValues:
    """Values of a film's pixels, looked up where they are asked for: few are, and as floats all of them fill 60 MB.

    An index gives an array of float32, as of an array of rows and columns, and ``numpy.asarray`` all of them.

    Parameters
    ----------
    codes
        (rows, columns) uint8 or uint16.
    table
        (N,) float32: the value of each code.
    """

    codes: NDArray[Any]
    table: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.codes.shape
        return rows, columns

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        # Twice as fast as an index; "clip" spares the check of codes that windowing has checked already.
        return np.asarray(self.table.take(self.codes[index], mode="clip"))

    def take(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """Values at places counted row by row, as :meth:`numpy.ndarray.take` gives them; at most ``codes.size`` - 1."""
        return np.asarray(self.table.take(self.codes.take(places), mode="clip"))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or np.float32, copy=False)

    def __neg__(self) -> PixelValues:
        return replace(self, table=-self.table)

    def turned(self, turn: Turn) -> PixelValues:
        """The same after a turn."""
        return replace(self, codes=turn.upright(self.codes)) if turn else self


Values: TypeAlias = "NDArray[np.float32] | PixelValues"
"""(rows, columns) float32, there or looked up."""


@dataclass(frozen=True)
class Radiograph:
    """One single-frame radiograph, decoded and windowed; no patient identity in it.

    Parameters
    ----------
    study_uid, series_uid, sop_uid
        DICOM UIDs of the source image.
    values
        (rows, columns) float32: pixel values after the modality LUT, before any window, as stored (not inverted).
    display
        (rows, columns) uint8: windowed, bright bone on dark ground as displayed (MONOCHROME1 inverted once).
    spacing
        Size of a pixel with its basis, or None: then there are px and ratios only.
    view
        Projection as the header states it.
    anterior_left
        True if the patient's anterior is at the image's left side with the head up, False if at the right, None if the
        header (PatientOrientation) does not say or the view is not lateral.
    body_part
        BodyPartExamined or the like, upper case, may be empty.
    notes
        Quality notes from reading (codes), for instance ``WINDOW_ABSURD``.
    age_years
        Of the patient, to say what is usual at that age; None where the header does not.
    turn
        What brings the head up, as the header (PatientOrientation) states it; None where it does not.
    view_is_sure
        False where the view comes from a text or from elements that contradict one another: the picture goes before it.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    values: Values
    display: NDArray[np.uint8]
    spacing: Spacing | None
    view: View
    anterior_left: bool | None
    body_part: str
    notes: tuple[str, ...] = ()
    age_years: float | None = None
    turn: Turn | None = None
    view_is_sure: bool = True

    def turned(self, turn: Turn) -> Radiograph:
        """The same film after a turn; what the header says of it stays as it is."""
        spacing = self.spacing
        if spacing and turn.is_sideways:
            spacing = replace(spacing, row_mm=spacing.column_mm, column_mm=spacing.row_mm)
        if not turn:
            return self
        stored = self.values
        values = stored.turned(turn) if isinstance(stored, PixelValues) else turn.upright(stored)
        return replace(self, values=values, display=turn.upright(self.display), spacing=spacing)

    @property
    def rows(self) -> int:
        """Height, px."""
        return int(self.display.shape[0])

    @property
    def columns(self) -> int:
        """Width, px."""
        return int(self.display.shape[1])
