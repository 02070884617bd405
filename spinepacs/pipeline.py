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
from spinepacs.analysis.judging.given import given, missing, unlike
from spinepacs.analysis.judging.grade import NONE_GIVEN, Given, grade
from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.judging.publish import Doubts, published
from spinepacs.analysis.judging.quality import quality
from spinepacs.analysis.judging.texture import texture
from spinepacs.analysis.measuring.guessed import with_guessed_width
from spinepacs.analysis.measuring.measure import disc_heights, measure
from spinepacs.analysis.measuring.size import with_possible_spacing
from spinepacs.analysis.naming.corrected import corrected
from spinepacs.analysis.naming.proportions import PROPORTIONS_RESTORED, as_read, find_natural
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.dicom.objects import encode_all, unwritable
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.corrections import REJECTED, Correction, Reject
from spinepacs.domain.findings import (
    EarlierObject,
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

    def without_objects(self) -> Self:
        """The same, that makes findings only."""
        kinds = ("segmentation", "report", "overlay", "presentation_state")
        none = {f"{kind}_enabled": False for kind in kinds}
        return replace(self, output=self.output.model_copy(update=none))

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
        found = find_natural(self.segmenter, film, clock.step)
        reading = replace(self._empty_reading(film), turn=found.turn, seconds=clock.seconds)
        if isinstance(found.spine, Refusal):
            return replace(reading, refusal=found.spine)
        with clock.step("measure"):
            believed = with_possible_spacing(found.film, found.spine)
        if isinstance(believed, Refusal):
            return replace(reading, refusal=believed)
        reading = self._judge(believed, found.spine, reading, clock)
        return reading.moved(found.move) if found.move else reading

    def correct(
        self, film: Path, base: Reading, correction: Correction, earlier: Sequence[EarlierObject] = ()
    ) -> ImageResult | Refusal:
        """Make of an earlier reading of a film what a person says, without the networks; all else as they would.

        Parameters
        ----------
        base
            That earlier reading, as the ledger gives it.
        earlier
            What earlier readings of the film have left in archives: the new objects replace it.

        Returns
        -------
        The result, or why the correction cannot be made; raises as :meth:`read_film`. A person's rejection is a result,
        whose reading is refused.
        """
        clock = _Clock()
        with clock.step("read"):
            loaded = read_film(film, self.character_set)
        if isinstance(loaded, Refusal):
            return loaded
        if why_not := unwritable(loaded.header, correction.draft):
            return why_not
        reading = self._corrected(loaded.radiograph, base, correction, clock)
        if isinstance(reading, Refusal):
            return reading
        result = self._described(loaded, reading, clock, earlier)
        return result if result.reading.refusal is reading.refusal else result.reading.refusal or result

    def _corrected(
        self, film: Radiograph, base: Reading, correction: Correction, clock: _Clock
    ) -> Reading | Refusal:
        """The earlier spine with a person's changes → measures → findings → conclusions, in the film's pixels."""
        operations = correction.draft.operations
        versions = base.versions.with_policy_of(self.versions)
        reading = replace(self._empty_reading(film), versions=versions, correction=correction)
        rejection = next((one for one in operations if isinstance(one, Reject)), None)
        if rejection:
            return replace(reading, refusal=Refusal(REJECTED, rejection.reason))
        if base.spine is None:
            return Refusal("NOTHING_TO_CORRECT", "nothing was found on this film that could be corrected")
        drawn = corrected(base.spine, operations, film.rows, film.columns)
        if isinstance(drawn, Refusal):
            return drawn
        grades = given(base.findings, drawn.renamed, operations)
        if isinstance(grades, Refusal):
            return grades
        seen, turn, spine, back = as_read(film, drawn.spine, base.notes)
        believed = with_possible_spacing(seen, spine)
        if isinstance(believed, Refusal):
            return believed
        reading = self._judge(believed, spine, replace(reading, turn=turn), clock, grades)
        reading = reading.moved(back) if back else reading
        return missing(operations, reading.findings) or unlike(correction.draft, base, reading) or reading

    def _judge(
        self, film: Radiograph, spine: Spine, reading: Reading, clock: _Clock, grades: Given = NONE_GIVEN
    ) -> Reading:
        """Spine → measures → findings → conclusions, in px of the film with its head up."""
        with clock.step("measure"):
            discs = disc_heights(spine, film.spacing)
            measures = measure(spine, film.spacing, self.segmenter.manifest.localisation)
            if PROPORTIONS_RESTORED in spine.notes:
                measures = with_guessed_width(measures, spine, self.segmenter.manifest.localisation)
        with clock.step("grade"):
            look = texture(spine, film)
            verdict = quality(spine, film, look)
            measures = published(measures, Doubts.of(spine, measures, verdict, self.policy.least_score))
            findings = grade(spine, measures, look, verdict, self.policy, grades)
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

    def _described(
        self, loaded: LoadedFilm, reading: Reading, clock: _Clock, earlier: Sequence[EarlierObject] = ()
    ) -> ImageResult:
        """The reading with its objects; without them, and refused, where the header defeats the encoders."""
        display = loaded.radiograph.display
        try:
            objects = tuple(encode_all(loaded, display, reading, self.output, clock.step, earlier))
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
