"""The key object that says of earlier results that they are not to be used (PS3.3 A.35.4, TID 2010).

Most archives keep and show what it names: whoever shows results has to look for it (docs/corrections.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from spinepacs.dicom import author, identity, tongue
from spinepacs.dicom.reading.parse import quiet
from spinepacs.dicom.report import content as sr
from spinepacs.dicom.report.document import observer_of, root
from spinepacs.domain.findings import EarlierObject, EncodedObject, ObjectKind, Reading
from spinepacs.language import _, speaking
from spinepacs.settings.sections import OutputSettings

DCM = standard.DCM
_IMAGES = (ObjectKind.SEG, ObjectKind.OVERLAY)
"""Value type IMAGE; a report, a presentation state and a page are COMPOSITE."""
TITLE = DCM.RejectedForQualityReasons
"""(113001, DCM) of CID 7010."""


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_rejection(
    header: Dataset, reading: Reading, earlier: Sequence[EarlierObject], output: OutputSettings
) -> EncodedObject:
    """Encode that earlier results of a film are rejected for quality reasons.

    Parameters
    ----------
    header
        Sanitised header of the source image, without pixels.
    reading
        That of the correction.
    earlier
        One or more, of the film's own study.

    Raises
    ------
    ValueError
        If there is nothing to reject, or no person who does.
    """
    if not earlier or reading.correction is None:
        raise ValueError("a rejection needs a person, and something to reject")
    dataset = root(TITLE, "2010")
    identity.stamp(dataset, header, reading, ObjectKind.REJECTION, output)
    dataset.SOPClassUID, dataset.Modality = KeyObjectSelectionDocumentStorage, "KO"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [identity.by_series(header, earlier)]
    language = tongue.settle(dataset, output.language)
    with speaking(language), sr.written_in(author.encodings_of(dataset)):
        sr.set_content(dataset, _content(dataset, reading, earlier))
    return identity.encoded(ObjectKind.REJECTION, reading.sop_uid, dataset, ExplicitVRLittleEndian)


def _content(letters: Dataset, reading: Reading, earlier: Sequence[EarlierObject]) -> Iterator[sr.Item]:
    """Rows of TID 2010: who, in words why, and what."""
    correction = reading.correction
    if correction:
        yield from observer_of(letters, correction)
        why = _("A person has rejected these results of spinepacs.")
        if not correction.draft.is_rejection:
            why = _("These results of spinepacs are replaced by those that a person has corrected.")
        yield sr.text(sr.CONTAINS, DCM.KeyObjectDescription, why)
    for item in earlier:
        is_image = item.kind in _IMAGES
        yield sr.composite(sr.CONTAINS, item.sop_class_uid, item.sop_uid, is_image=is_image)
