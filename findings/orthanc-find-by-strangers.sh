#!/usr/bin/env bash
# Orthanc: an unknown caller's C-ECHO succeeds, and its C-FIND is answered by an abort, without a status
#
# Versions   Orthanc, DCMTK's echoscu and findscu (Debian's, printed below); pydicom 3.0.2 makes the image.
# Behaviour  who may query is not decided when the association is made, where PS3.8 has "calling AE title not recognised" (and a
#            presentation context can be refused), nor by a C-FIND status (PS3.7 has 0x0124, "not authorised"). Orthanc
#            accepts association and context, answers C-ECHO with success, and at the C-FIND aborts. DicomModalities is
#            where callers are named; the log alone says so.
# Seen       calling as KNOWN: C-ECHO success, C-FIND one answer and success. As STRANGER: C-ECHO success, C-FIND "Peer aborted
#            Association (or never connected)", no response.
# Meaning    it looks like a broken network and invites retries; an echo proves nothing of the right to query. Check a partner
#            with the query itself.
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
store(new())


def called(tool, *keys, title):
    """What DCMTK's tool says, as the caller of this title."""
    asked = subprocess.run([f"/usr/bin/{tool}", "-v", "-aet", title, "-ta", "10", "-td", "10", *keys, "127.0.0.1",
                            sys.argv[2]], capture_output=True, text=True, timeout=60)
    return asked.stdout + asked.stderr


QUERY = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")
as_stated = True
for title, may in (("KNOWN", True), ("STRANGER", False)):
    echo, find = called("echoscu", title=title), called("findscu", *QUERY, title=title)
    seen = {
        "association accepted": "Association Accepted" in find,
        "C-ECHO success": "Received Echo Response (Success)" in echo,
        "C-FIND answered": "Received Final Find Response (Success)" in find,
        "aborted": "Peer aborted Association" in find,
    }
    print(title, seen)
    as_stated &= list(seen.values()) == [True, True, may, not may]
sys.exit(0 if as_stated else 1)
END
