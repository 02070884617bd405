#!/usr/bin/env bash
# Orthanc: WADO-RS without a transfer syntax is 500 where a study holds JPEG 2000, and 200 for every other compression
#
# Versions   Orthanc and its DICOMweb plugin (Debian's, printed below); pydicom 3.0.2 with pylibjpeg 2.1.0, its openjpeg 2.5.0, numpy 2.2.6.
# Behaviour  PS3.18 8.7.3.5.2: who names no transfer syntax is given Explicit VR Little Endian. Orthanc decompresses for that,
#            but it cannot decode JPEG 2000, which it stores all the same. It answers neither 406 nor the file as it is, but 500
#            "Error encountered within the plugin engine". With transfer-syntax=* it sends what it has.
# Seen       film of 64 x 64. Accept */* or multipart/related; type="application/dicom": uncompressed 200, RLE 200, JPEG 2000 500.
#            With ; transfer-syntax=* all 200, JPEG 2000 as stored.
# Meaning    a 500 that no retry cures, for one study among thousands that work. Ask for transfer-syntax=* and decode yourself.
set -euo pipefail
work=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || { kill "$orthanc"; wait "$orthanc" || true; }; rm -rf "$work"' EXIT
Orthanc --version | sed -n 1p
dpkg-query -W -f '${Package} ${Version}\n' orthanc orthanc-dicomweb 2>/dev/null || true
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 pylibjpeg==2.1.0 pylibjpeg-openjpeg==2.5.0 numpy==2.2.6
read -r http dicom < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))')
plugin=$(find /usr/share/orthanc /usr/lib -name libOrthancDicomWeb.so | sort | sed -n 1p)
cat > "$work/orthanc.json" <<END
{"StorageDirectory": "$work/db", "IndexDirectory": "$work/db", "HttpPort": $http, "DicomPort": $dicom,
 "DicomServerEnabled": false, "DicomCheckCalledAet": false, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "DicomModalities": {"known": ["KNOWN", "127.0.0.1", 1]},
 "DicomWeb": {"Enable": true, "Root": "/dicom-web/"}, "Plugins": ["$plugin"]}
END
Orthanc "$work/orthanc.json" >"$work/log" 2>&1 &
orthanc=$!
"$work/venv/bin/python" - "http://127.0.0.1:$http" "$dicom" <<'END'
import io
import sys
import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)


def ask(path, body=None, accept="*/*"):
    try:
        with urlopen(Request(sys.argv[1] + path, data=body, headers={"Accept": accept}), timeout=20) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def start():
    for _ in range(150):
        try:
            return ask("/system")
        except URLError:
            time.sleep(0.2)


def new():
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    film.StudyInstanceUID, film.SeriesInstanceUID, film.Modality = generate_uid(), generate_uid(), "CR"
    film.PatientID, film.PatientName = "Ab-12", "Ab^Cd"
    return film


def store(film):
    with io.BytesIO() as file:
        film.save_as(file, enforce_file_format=True)
        assert ask("/instances", file.getvalue())[0] == 200


start()
NONE = 'multipart/related; type="application/dicom"'
ANY = NONE + "; transfer-syntax=*"


def statuses(name, syntax):
    """Status of WADO-RS of a film so compressed, for three Accept headers; whether the last gives it as stored."""
    film = new()
    film.Rows = film.Columns = 64
    film.BitsAllocated = film.BitsStored = 16
    film.HighBit, film.PixelRepresentation, film.SamplesPerPixel = 15, 0, 1
    film.PhotometricInterpretation, film.PixelData = "MONOCHROME2", np.arange(4096, dtype=np.uint16).tobytes()
    if syntax:
        film.compress(syntax)
    store(film)
    answers = [ask(f"/dicom-web/studies/{film.StudyInstanceUID}", accept=accept) for accept in ("*/*", NONE, ANY)]
    as_stored = film.file_meta.TransferSyntaxUID.encode() in answers[-1][1]
    print(f"{name}: */* {answers[0][0]}, none {answers[1][0]}, * {answers[2][0]}, as stored: {as_stored}")
    return [status for status, _ in answers] + [as_stored]


as_stated = statuses("uncompressed", None) == [200, 200, 200, True]
as_stated &= statuses("RLE", RLELossless) == [200, 200, 200, True]
as_stated &= statuses("JPEG 2000", JPEG2000Lossless) == [500, 500, 200, True]
sys.exit(0 if as_stated else 1)
END
