"""The structured report of one radiograph: Comprehensive SR, TID 1500 Measurement Report (PS3.16)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, ExplicitVRLittleEndian

import spinepacs
from spinepacs.dicom import author, codes, identity, tongue
from spinepacs.dicom.reading.parse import quiet
from spinepacs.dicom.report import content as sr
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.dicom.report.groups import Groups, SegmentationObject, conclusion_item
from spinepacs.domain.corrections import Correction
from spinepacs.domain.findings import EarlierObject, EncodedObject, ObjectKind, Reading
from spinepacs.domain.measures import Reason
from spinepacs.domain.words import REASONS, SIGNS
from spinepacs.language import N_, _, n_, speaking, spoken
from spinepacs.settings.sections import OutputSettings

SOP_CLASSES = {"comprehensive": ComprehensiveSRStorage, "comprehensive-3d": Comprehensive3DSRStorage}
"""By ``output.report``, with the same content: a radiograph has no frame of reference for SCOORD3D (PS3.3 A.35.13)."""
DCM = standard.DCM
_QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
_MODALITIES = {
    "CR": "Computed Radiography",
    "DX": "Digital Radiography",
    "RF": "Radiofluoroscopy",
    "XA": "X-Ray Angiography",
}


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_report(
    header: Dataset,
    reading: Reading,
    segmentation: SegmentationObject | None,
    output: OutputSettings,
    predecessor: EarlierObject | None = None,
) -> EncodedObject:
    """Encode a reading as a report that anyone can parse without us; one that a person has corrected as verified.

    Parameters
    ----------
    header
        Sanitised header of the source image, without pixels.
    reading
        A reading with vertebrae.
    segmentation
        Its SEG, whose segments are then referenced; without it each vertebra carries its outline.
    output
        Device serial number, encoding, SOP class, and language, if the film's character set has its letters.
    predecessor
        The report that this one replaces, of the same study.

    Raises
    ------
    ValueError
        If the reading has no spine: there is nothing to report.
    """
    if reading.spine is None:
        raise ValueError("a reading without a spine has no report")
    dataset = root(DCM.ImagingMeasurementReport, "1500")
    identity.stamp(dataset, header, reading, ObjectKind.SR, output)
    dataset.SOPClassUID, dataset.Modality = SOP_CLASSES[output.report], "SR"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    if reading.correction:
        _verify(dataset, header, reading.correction)
    if predecessor:
        dataset.PredecessorDocumentsSequence = [identity.by_series(header, [predecessor])]
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence(header, segmentation)]
    dataset.CodingSchemeIdentificationSequence = [_private_scheme()]
    language = tongue.settle(dataset, output.language)
    with speaking(language), sr.written_in(author.encodings_of(dataset)):
        sr.set_content(dataset, _tree(header, reading, segmentation, dataset))
    return identity.encoded(ObjectKind.SR, reading.sop_uid, dataset, ExplicitVRLittleEndian)


def _verify(dataset: Dataset, header: Dataset, correction: Correction) -> None:
    """Complete, final, and verified by a person (PS3.3 C.17.2); an organisation must be named."""
    observer, draft = Dataset(), correction.draft
    observer.VerifyingObserverName = draft.author
    observer.VerifyingObserverIdentificationCodeSequence = []
    observer.VerifyingOrganization = draft.organisation or "not stated"
    observer.VerificationDateTime = f"{correction.made_at.astimezone(UTC):%Y%m%d%H%M%S}+0000"
    dataset.VerifyingObserverSequence = [observer]
    dataset.VerificationFlag, dataset.PreliminaryFlag = "VERIFIED", "FINAL"


def root(title: Code, template_id: str) -> Dataset:
    """Attributes of the root content item: a container that follows a template of DCMR."""
    dataset = Dataset()
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [
        identity.code_item(title.value, title.scheme_designator, title.meaning)
    ]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", template_id
    dataset.ContentTemplateSequence = [template]
    return dataset


def _tree(
    header: Dataset, reading: Reading, segmentation: SegmentationObject | None, letters: Dataset
) -> Iterator[sr.Item]:
    """Rows of TID 1500."""
    groups = Groups(header, reading, segmentation)
    yield sr.code(sr.MODIFIER, DCM.LanguageOfContentItemAndDescendants, tongue.CODES[spoken()])
    yield from _observer(letters, reading)
    yield sr.code(sr.MODIFIER, DCM.ProcedureReported, codes.PLAIN_RADIOGRAPHY)
    entry = sr.container(sr.CONTAINS, DCM.ImageLibraryGroup, [_library_entry(header, reading)])
    yield sr.container(sr.CONTAINS, DCM.ImageLibrary, [entry], "1600")
    # Discs first: OHIF opens a report at its first group, and fails at one that has no SCOORD at all.
    measured = [*groups.discs(), *groups.spans(), *groups.vertebrae()]
    yield sr.container(sr.CONTAINS, DCM.ImagingMeasurements, measured)
    conclusions = map(conclusion_item, reading.conclusions)
    notes = (sr.code(sr.CONTAINS, by_sign.NOTE, by_sign.note_code(n)) for n in dict.fromkeys(reading.notes))
    remarks = (sr.text(sr.CONTAINS, DCM.Comment, remark) for remark in _remarks(reading))
    evaluated = [*conclusions, *groups.elsewhere(), *notes, *remarks]
    yield sr.container(sr.CONTAINS, _QUALITATIVE_EVALUATIONS, evaluated)


def _observer(letters: Dataset, reading: Reading) -> Iterator[sr.Item]:
    """TID 1002 and 1004: a device made these observations."""
    device = identity.derived_uid(identity.MANUFACTURER, "DEVICE", reading.versions)
    yield sr.code(sr.CONTEXT, DCM.ObserverType, DCM.Device)
    yield sr.uid(sr.CONTEXT, DCM.DeviceObserverUID, device)
    yield sr.text(sr.CONTEXT, DCM.DeviceObserverName, identity.MANUFACTURER)
    yield sr.text(sr.CONTEXT, DCM.DeviceObserverManufacturer, identity.MANUFACTURER)
    yield sr.text(sr.CONTEXT, DCM.DeviceObserverModelName, identity.MANUFACTURER)
    if reading.correction:
        yield from observer_of(letters, reading.correction)


def observer_of(letters: Dataset, correction: Correction) -> Iterator[sr.Item]:
    """TID 1002 and 1003: a person looked at them; the name is written in the character set of ``letters``."""
    yield sr.code(sr.CONTEXT, DCM.ObserverType, DCM.Person)
    encodings = author.encodings_of(letters)
    yield sr.person(sr.CONTEXT, DCM.PersonObserverName, correction.draft.author, encodings)


def _library_entry(header: Dataset, reading: Reading) -> sr.Item:
    """TID 1601 and 1602: the source image and what is needed to interpret coordinates on it."""
    about = [
        sr.number(sr.ACQUISITION, DCM.PixelDataRows, str(reading.rows), codes.PIXELS),
        sr.number(sr.ACQUISITION, DCM.PixelDataColumns, str(reading.columns), codes.PIXELS),
    ]
    modality = str(header.get("Modality", ""))
    if modality in _MODALITIES:
        value = Code(modality, "DCM", _MODALITIES[modality])
        about.insert(0, sr.code(sr.ACQUISITION, DCM.Modality, value))
    return sr.image(sr.CONTAINS, None, header.SOPClassUID, header.SOPInstanceUID, children=about)


def _remarks(reading: Reading) -> Iterator[str]:
    """What a reader must know before using a number."""
    versions = reading.versions
    made = N_("{disclaimer}. Made by software, not verified by a physician.")
    if reading.correction:
        made = N_("{disclaimer}. Made by software, corrected and verified by a person.")
    yield _(made, disclaimer=_(identity.DISCLAIMER))
    spacing = codes.SPACING[reading.spacing.basis if reading.spacing else None]
    yield _("Lengths: {basis}.", basis=_(spacing.meaning))
    yield _(
        "Software {name} {version}, model {model}, grading policy {policy}.",
        name=identity.MANUFACTURER,
        version=spinepacs.__version__,
        model=f"{versions.model_name} {versions.model_version}",
        policy=f"{versions.policy_name} {versions.policy_version}",
    )
    missing = reading.spine.missing if reading.spine else ()
    if missing:
        levels = ", ".join(level.name for level in missing)
        yield _("Not found between the levels reported: {levels}.", levels=levels)
    yield from _not_stated(reading)
    left_out = Counter(f.sign for f in reading.findings if f.reason is Reason.NOT_VALIDATED)
    if left_out:
        signs = ", ".join(
            n_("{sign} at {count} disc", "{sign} at {count} discs", count, sign=SIGNS[sign])
            for sign, count in left_out.items()
        )
        yield _("Not graded where this policy has no tested rule: {signs}.", signs=signs)


def _not_stated(reading: Reading) -> Iterator[str]:
    """Where measures are withheld, by reason."""
    places: dict[Reason, list[str]] = defaultdict(list)
    for measure in reading.withheld_measures:
        if measure.reason:
            places[measure.reason].append(measure.place.name)
    for reason, names in places.items():
        where = ", ".join(dict.fromkeys(names))
        yield _("Measures withheld ({why}): {places}.", why=REASONS[reason], places=where)


def _evidence(header: Dataset, segmentation: SegmentationObject | None) -> Dataset:
    """Everything that the report refers to, by study and series (PS3.3 C.17.2.3)."""
    study = Dataset()
    study.StudyInstanceUID = header.StudyInstanceUID
    study.ReferencedSeriesSequence = [
        identity.series_item(header.SeriesInstanceUID, identity.image_reference(header))
    ]
    if segmentation is not None:
        study.ReferencedSeriesSequence.append(
            identity.series_item(segmentation.series_uid, identity.reference(segmentation))
        )
    return study


def _private_scheme() -> Dataset:
    """Declare 99SPINEPACS (PS3.3 C.12.1.1.17)."""
    item = Dataset()
    item.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    item.CodingSchemeName = "spinepacs private codes"
    item.CodingSchemeResponsibleOrganization = "spinepacs"
    return item
