#!/usr/bin/env bash
# Orthanc: QIDO-RS finds an accession number or a patient ID in any case, C-FIND only as it is written
#
# Versions   Orthanc and its DICOMweb plugin, DCMTK's findscu (Debian's, printed below); pydicom 3.0.2 makes the image.
# Behaviour  PS3.4 C.2.2.2.1: matching of one value is sensitive to case, except of names (PN). QIDO-RS has the same matching
#            (PS3.18 8.3.4, 10.6). Orthanc's QIDO-RS does not look at case for any attribute; the same server's C-FIND
#            does, for all but names.
# Seen       stored: accession number Xy-7, patient ID Ab-12, study ID Sid. Asked so: 1 and 1. In capitals: QIDO-RS 1, C-FIND 0.
#            The name ab^cd: 1 and 1.
# Meaning    two hospitals' numbers that differ in case only are one for QIDO-RS: somebody else's study comes back with a
#            success. Compare each answer with what was asked for; and do not expect both ways in to find the same.
set -euo pipefail
work=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || { kill "$orthanc"; wait "$orthanc" || true; }; rm -rf "$work"' EXIT
Orthanc --version | sed -n 1p
dpkg-query -W -f '${Package} ${Version}\n' orthanc orthanc-dicomweb 2>/dev/null || true
/usr/bin/findscu --version | sed -n 1p
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2
read -r http dicom < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))')
plugin=$(find /usr/share/orthanc /usr/lib -name libOrthancDicomWeb.so | sort | sed -n 1p)
cat > "$work/orthanc.json" <<END
{"StorageDirectory": "$work/db", "IndexDirectory": "$work/db", "HttpPort": $http, "DicomPort": $dicom,
 "DicomServerEnabled": true, "DicomCheckCalledAet": false, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "DicomModalities": {"known": ["KNOWN", "127.0.0.1", 1]},
 "DicomWeb": {"Enable": true, "Root": "/dicom-web/"}, "Plugins": ["$plugin"]}
END
Orthanc "$work/orthanc.json" >"$work/log" 2>&1 &
orthanc=$!
"$work/venv/bin/python" - "http://127.0.0.1:$http" "$dicom" <<'END'
import io
import json
import subprocess
import sys
import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


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
film = new()
film.AccessionNumber, film.StudyID = "Xy-7", "Sid"
store(film)


def found(keyword, value):
    """Studies that QIDO-RS and C-FIND find."""
    listed = len(json.loads(ask(f"/dicom-web/studies?{keyword}={value}")[1]))
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", f"{keyword}={value}"]
    asked = subprocess.run(["/usr/bin/findscu", "-aet", "KNOWN", "-S", *keys, "127.0.0.1", sys.argv[2]],
                           capture_output=True, text=True, timeout=60, check=True)
    answers = (asked.stdout + asked.stderr).count("Find Response:")
    print(f"{keyword}={value}: QIDO-RS {listed}, C-FIND {answers}")
    return listed, answers


as_stated = found("PatientName", "Ab^Cd") == found("PatientName", "ab^cd") == (1, 1)
for keyword, value in (("AccessionNumber", "Xy-7"), ("PatientID", "Ab-12"), ("StudyID", "Sid")):
    as_stated &= found(keyword, value) == (1, 1)
    as_stated &= found(keyword, value.upper()) == (1, 0)
    as_stated &= found(keyword, value + "x") == (0, 0)
sys.exit(0 if as_stated else 1)
END
