#!/usr/bin/env bash
# DCMTK: a window whose VOI LUT function is SIGMOID is drawn as a linear one by dcmp2pgm, and rightly by dcmj2pnm
#
# Versions   DCMTK's dcmp2pgm and dcmj2pnm (Debian's, printed below), pydicom 3.0.2 and numpy 2.2.6 make the files.
# Behaviour  VOI LUT Function (0028,1056) says how centre and width are meant (PS3.3 C.11.2.1.3); a presentation state may hold it
#            in its Softcopy VOI LUT Sequence. dcmp2pgm renders presentation states and ignores it, in the state as in the
#            image itself, without a word. dcmj2pnm, of the same toolkit, draws the image's own as it should be.
# Seen       a ramp, centre 2048, width 1024. By a state: SIGMOID, LINEAR_EXACT and LINEAR give the same picture. The image's own
#            SIGMOID: dcmp2pgm gives the linear picture again; dcmj2pnm one that differs by up to 31 of 256 grey levels.
# Meaning    a reference renderer that agrees with your linear window proves nothing of the function; a state that must look the
#            same everywhere carries a table instead.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dcmp2pgm --version | sed -n 1p
dcmj2pnm --version | sed -n 1p
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import subprocess
import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    generate_uid,
)

STUDY, SERIES = generate_uid(), generate_uid()


def new(sop_class):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.PatientID, made.PatientName, made.PatientBirthDate, made.PatientSex = "T1", "T^T", "", ""
    made.StudyInstanceUID, made.StudyID, made.AccessionNumber = STUDY, "", ""
    made.StudyDate, made.StudyTime, made.ReferringPhysicianName = "20260101", "120000", ""
    return made


def window(dataset, function):
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = "2048", "1024", function
    return dataset


def item(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def picture(name):
    return np.frombuffer(Path(name).read_bytes()[-4096:], np.uint8).astype(int)


film = new(ComputedRadiographyImageStorage)
film.SeriesInstanceUID, film.Modality = SERIES, "CR"
film.Rows = film.Columns = 64
film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
film.PixelData = np.arange(4096, dtype=np.uint16).tobytes()
film.save_as("film.dcm", enforce_file_format=True)


def by_state(function):
    state = new(GrayscaleSoftcopyPresentationStateStorage)
    state.SeriesInstanceUID, state.Modality, state.Manufacturer = generate_uid(), "PR", ""
    state.SeriesNumber, state.InstanceNumber, state.ContentLabel, state.ContentDescription = "1", "1", "X", ""
    state.ContentCreatorName, state.PresentationLUTShape = "", "IDENTITY"
    state.PresentationCreationDate, state.PresentationCreationTime = "20260101", "120000"
    image = item(ReferencedSOPClassUID=film.SOPClassUID, ReferencedSOPInstanceUID=film.SOPInstanceUID)
    state.ReferencedSeriesSequence = [item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[image])]
    state.DisplayedAreaSelectionSequence = [item(
        DisplayedAreaTopLeftHandCorner=[1, 1], DisplayedAreaBottomRightHandCorner=[64, 64],
        PresentationSizeMode="SCALE TO FIT", PresentationPixelAspectRatio=[1, 1])]
    state.SoftcopyVOILUTSequence = [window(Dataset(), function)]
    state.save_as("state.dcm", enforce_file_format=True)
    subprocess.run(["dcmp2pgm", "-p", "state.dcm", "film.dcm", "state.pgm"], check=True)
    return picture("state.pgm")


drawn = {function: by_state(function) for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")}
window(film, "SIGMOID").save_as("own.dcm", enforce_file_format=True)
subprocess.run(["dcmp2pgm", "own.dcm", "own.pgm"], check=True)
subprocess.run(["dcmj2pnm", "+Wi", "1", "+op", "own.dcm", "right.pgm"], check=True)
drawn["own SIGMOID, dcmp2pgm"], drawn["own SIGMOID, dcmj2pnm"] = picture("own.pgm"), picture("right.pgm")
sigmoid = np.round(255 / (1 + np.exp(-4 * (np.arange(4096) - 2048) / 1024)))
apart = {name: int(abs(one - drawn["LINEAR"]).max()) for name, one in drawn.items()}
for name, one in drawn.items():
    print(f"{name:22} {one[1600:2600:200]} from LINEAR: {apart[name]}, from the formula: {abs(one - sigmoid).max():.0f}")
as_stated = [apart[name] for name in drawn][:4] == [0, 0, 0, 0]
as_stated &= apart["own SIGMOID, dcmj2pnm"] > 20 and abs(drawn["own SIGMOID, dcmj2pnm"] - sigmoid).max() <= 1
sys.exit(0 if as_stated else 1)
END
