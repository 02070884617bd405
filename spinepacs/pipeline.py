"""The path of a study, from files to results: read, normalise, segment, label, measure, grade, encode.

No threads, no database, no network; what happens before and after is in ``dispatch``, ``worker`` and ``store``.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import cv2

from spinepacs.analysis.judging.conclude import conclude
from spinepacs.analysis.judging.grade import grade
from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.judging.publish import Doubts, published
from spinepacs.analysis.judging.quality import quality
from spinepacs.analysis.judging.texture import texture
from spinepacs.analysis.measuring.measure import disc_heights, measure
from spinepacs.analysis.measuring.size import with_possible_spacing
from spinepacs.analysis.naming.polarity import find_bright
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.overlay.presentation import encode_presentation
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.findings import (
    EncodedObject,
    ImageResult,
    Reading,
    Refusal,
    Spine,
    StudyResult,
    Versions,
)
from spinepacs.domain.study import Radiograph
from spinepacs.errors import BadInput
from spinepacs.settings.sections import ModelSettings, OutputSettings

_log = logging.getLogger(__name__)


@dataclass
class _Clock:
    """Seconds by step of one film."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to a step."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Pipeline:
    """Everything that is needed to read studies: model, policy, and what to write.

    Parameters
    ----------
    segmenter
        The model's session: a pipeline belongs to one thread of one process.
    policy
        The grading policy.
    output
        Which objects are written and how.
    character_set
        SpecificCharacterSet of films that declare none; empty: none.
    """

    segmenter: Segmenter
    policy: Policy
    output: OutputSettings
    character_set: str = ""

    @classmethod
    def open(
        cls, model: ModelSettings, output: OutputSettings, threads: int, character_set: str = ""
    ) -> Self:
        """Load the model folder and the policy that the settings name.

        OpenCV takes as many threads as the networks, in the whole process; 0: both take every core.

        Raises
        ------
        BadModel, BadSettings
            If either cannot be used.
        """
        if threads:
            # Else workers of one thread each would wake threads on each other's cores.
            cv2.setNumThreads(threads)
        segmenter = Segmenter.open(model.folder, threads, model.precision)
        return cls(segmenter, Policy.load(model.policy), output, character_set)

    @property
    def versions(self) -> Versions:
        """What the readings are made with."""
        return Versions(
            self.segmenter.model_name, self.segmenter.model_version, self.policy.name, self.policy.version
        )

    def read_study(self, study_uid: str, films: Sequence[Path]) -> StudyResult:
        """Read all films of a study.

        A film that cannot be read or described becomes a refusal with the error's code, and the others go on.

        Returns
        -------
        The results, one for each film, in the order of ``films``.

        Raises
        ------
        Transient
            What may pass (the disk): the whole study can be tried again.
        """
        return StudyResult(study_uid, tuple(self.read_or_refuse(film, study_uid) for film in films))

    def read_film(self, film: Path) -> ImageResult:
        """Read one film, from the file to the objects that describe it.

        Raises
        ------
        BadInput
            If the file is damaged.
        Transient
            What may pass (the disk).
        """
        clock = _Clock()
        with clock.step("read"):
            loaded = read_film(film, self.character_set)
        if isinstance(loaded, Refusal):
            return ImageResult(self._refused(film, loaded), ())
        reading = self._interpret(loaded.radiograph, clock)
        if reading.refusal:
            return ImageResult(reading, ())
        return self._described(loaded, reading, clock)

    def _interpret(self, film: Radiograph, clock: _Clock) -> Reading:
        """Pixels → spine, head up, bone bright → measures → findings → conclusions, back in the film's pixels."""
        upright, turn, spine = find_bright(self.segmenter, film, clock.step)
        reading = replace(self._empty_reading(film), turn=turn, seconds=clock.seconds)
        if isinstance(spine, Refusal):
            return replace(reading, refusal=spine)
        with clock.step("measure"):
            believed = with_possible_spacing(upright, spine)
        if isinstance(believed, Refusal):
            return replace(reading, refusal=believed)
        reading = self._judge(believed, spine, reading, clock)
        return reading.moved(turn.to_film(film.rows, film.columns)) if turn else reading

    def _judge(self, film: Radiograph, spine: Spine, reading: Reading, clock: _Clock) -> Reading:
        """Spine → measures → findings → conclusions, in px of the film with its head up."""
        with clock.step("measure"):
            discs = disc_heights(spine, film.spacing)
            measures = measure(spine, film.spacing, self.segmenter.manifest.localisation)
        with clock.step("grade"):
            look = texture(spine, film)
            verdict = quality(spine, film, look)
            measures = published(measures, Doubts.of(spine, measures, verdict, self.policy.least_score))
            findings = grade(spine, measures, look, verdict, self.policy)
            conclusions = conclude(spine, findings, self.policy, film.age_years)
        return replace(
            reading,
            spacing=reading.spacing if film.spacing else None,
            spine=spine,
            discs=discs,
            measures=measures,
            findings=findings,
            conclusions=conclusions,
            notes=film.notes + spine.notes + verdict.notes,
        )

    def _described(self, loaded: LoadedFilm, reading: Reading, clock: _Clock) -> ImageResult:
        """The reading with its objects; without them, and refused, where the header defeats the encoders."""
        try:
            objects = tuple(self._encode(loaded, reading, clock))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # highdicom raises these for headers that are wrong in a way nobody has met yet. Only the place is
            # logged: such messages quote values.
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} at {place.filename}:{place.lineno}"
            _log.error("results not encoded: %s", what, extra={"sop_uid": reading.sop_uid})
            refusal = Refusal(
                "NOT_ENCODED", f"{type(error).__name__} while the results were written; see the log"
            )
            return ImageResult(replace(reading, refusal=refusal, seconds=clock.seconds), ())
        return ImageResult(replace(reading, seconds=clock.seconds), objects)

    def _encode(self, loaded: LoadedFilm, reading: Reading, clock: _Clock) -> Iterator[EncodedObject]:
        header, film, segmentation = loaded.header, loaded.radiograph, None
        if self.output.segmentation_enabled:
            with clock.step("segmentation"):
                segmentation = encode_segmentation(header, reading, self.output)
        if segmentation:
            yield segmentation
        if self.output.report_enabled:
            with clock.step("report"):
                report = encode_report(header, reading, segmentation, self.output)
            yield report
        if self.output.overlay_enabled:
            with clock.step("overlay"):
                overlay = encode_overlay(header, reading, draw_overlay(film.display, reading), self.output)
            yield overlay
        if self.output.presentation_state_enabled and reading.spine:
            with clock.step("presentation"):
                state = encode_presentation(header, reading, loaded.shown, self.output)
            yield state

    def read_or_refuse(self, film: Path, study_uid: str = "") -> ImageResult:
        """Read one film; one that cannot be read is refused with the error's code, in the daemon and in ``process``.

        Raises
        ------
        Transient
            What may pass (the disk).
        """
        try:
            return self.read_film(film)
        except BadInput as error:
            refusal = Refusal(error.reason_code, str(error))
        try:
            reading = self._refused(film, refusal)
        except BadInput:  # not even its header can be read: the order of the results tells which film it is
            reading = self._reading(study_uid, "", "", refusal)
        return ImageResult(reading, ())

    def _refused(self, film: Path, refusal: Refusal) -> Reading:
        header = read_header(film)
        return self._reading(header.study_uid, header.series_uid, header.sop_uid, refusal)

    def _empty_reading(self, film: Radiograph) -> Reading:
        empty = self._reading(film.study_uid, film.series_uid, film.sop_uid, None)
        return replace(empty, rows=film.rows, columns=film.columns, spacing=film.spacing, notes=film.notes)

    def _reading(self, study_uid: str, series_uid: str, sop_uid: str, refusal: Refusal | None) -> Reading:
        return Reading(
            study_uid=study_uid,
            series_uid=series_uid,
            sop_uid=sop_uid,
            versions=self.versions,
            rows=0,
            columns=0,
            spacing=None,
            spine=None,
            discs=(),
            findings=(),
            refusal=refusal,
        )
