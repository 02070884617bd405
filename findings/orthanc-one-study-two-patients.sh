#!/usr/bin/env bash
# Orthanc: a study whose images carry two patient IDs is listed by QIDO-RS and "inexistent" for WADO-RS
#
# Versions   Orthanc and its DICOMweb plugin (Debian's, printed below); pydicom 3.0.2 makes the images.
# Behaviour  Orthanc keys a study by patient ID and study UID. When a patient ID is corrected between two images of a
#            study (or another sender writes it differently), it keeps two studies with one UID. QIDO-RS lists both;
#            WADO-RS looks for the UID, finds two, and answers 404 "inexistent study" for the whole study and its
#            metadata, also for the images that were there before. Series and instances stay reachable.
# Seen       before: QIDO 1, study and metadata 200. After one more image: QIDO 2, study and metadata 404,
#            list of series 200 with both, metadata of the old series 200.
# Meaning    one late image with another ID takes a whole study out of reach of every viewer that opens it by study.
#            A client must not read this 404 as "deleted": ask for the series, and retrieve those.
set -euo pipefail
work=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || { kill "$orthanc"; wait "$orthanc" || true; }; rm -rf "$work"' EXIT
Orthanc --version | sed -n 1p
dpkg-query -W -f '${Package} ${Version}\n' orthanc orthanc-dicomweb 2>/dev/null || true
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
plugin=$(find /usr/share/orthanc /usr/lib -name libOrthancDicomWeb.so | sort | sed -n 1p)
cat > "$work/orthanc.json" <<END
{"StorageDirectory": "$work/db", "IndexDirectory": "$work/db", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomWeb": {"Enable": true, "Root": "/dicom-web/"},
 "Plugins": ["$plugin"]}
END
Orthanc "$work/orthanc.json" >"$work/log" 2>&1 &
orthanc=$!
"$work/venv/bin/python" - "http://127.0.0.1:$port" <<'END'
import io
import json
import sys
import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

STUDY = generate_uid()


def ask(path, body=None):
    try:
        with urlopen(Request(sys.argv[1] + path, data=body), timeout=20) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def send(patient_id):
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    film.PatientID, film.StudyInstanceUID, film.SeriesInstanceUID = patient_id, STUDY, generate_uid()
    film.Modality = "CR"
    with io.BytesIO() as file:
        film.save_as(file, enforce_file_format=True)
        assert ask("/instances", file.getvalue())[0] == 200
    return film.SeriesInstanceUID


def state(series):
    listed = json.loads(ask(f"/dicom-web/studies?StudyInstanceUID={STUDY}")[1])
    root = f"/dicom-web/studies/{STUDY}"
    status, answer = ask(root + "/series")
    found = {
        "QIDO studies": len(listed),
        "WADO study": ask(root)[0],
        "WADO metadata": ask(root + "/metadata")[0],
        "QIDO series": (status, len(json.loads(answer))),
        "metadata of the first series": ask(f"{root}/series/{series}/metadata")[0],
    }
    print(found)
    return list(found.values())


for _ in range(150):
    try:
        ask("/system")
        break
    except URLError:
        time.sleep(0.2)
assert ask("/dicom-web/studies")[0] == 200, "Orthanc runs without its DICOMweb plugin"
first = send("A-1001")
before = state(first)
send("A-1001B")
after = state(first)
print(ask(f"/dicom-web/studies/{STUDY}/metadata")[1].decode().split('"')[3][:60])
as_stated = before == [1, 200, 200, (200, 1), 200] and after == [2, 404, 404, (200, 2), 200]
sys.exit(0 if as_stated else 1)
END
