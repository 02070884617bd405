"""The printable page of a film as Encapsulated PDF (PS3.3 A.45.1): highdicom has no class for it."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from spinepacs.dicom import identity
from spinepacs.dicom.reading.parse import quiet
from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading
from spinepacs.settings.sections import OutputSettings


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_pdf(header: Dataset, reading: Reading, pdf: bytes, output: OutputSettings) -> EncodedObject:
    """Wrap a PDF with the patient and the study of its film.

    Parameters
    ----------
    header
        Sanitised header of the source image, without pixels.
    pdf
        The file.
    """
    dataset = Dataset()
    identity.stamp(dataset, header, reading, ObjectKind.PDF, output)
    dataset.SOPClassUID, dataset.Modality = EncapsulatedPDFStorage, "DOC"
    dataset.ConversionType, dataset.BurnedInAnnotation = "WSD", "YES"
    dataset.AcquisitionDateTime = None
    dataset.DocumentTitle = f"Spine findings. {identity.DISCLAIMER}."
    dataset.ConceptNameCodeSequence = [identity.code_item("126000", "DCM", "Imaging Measurement Report")]
    dataset.SourceInstanceSequence = [identity.image_reference(header)]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    return identity.encoded(ObjectKind.PDF, reading.sop_uid, dataset, ExplicitVRLittleEndian)
