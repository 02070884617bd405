#!/usr/bin/env bash
# dicomweb-client: the Host header lacks the port, so that the addresses in a server's answers lead elsewhere
#
# Versions   dicomweb-client 0.61.2; Orthanc and its DICOMweb plugin as the server (Debian's, printed below); pydicom 3.0.2.
# Behaviour  RFC 9110 7.2 wants host and port in Host, unless the port is the scheme's own. The client sets the header itself and
#            leaves the port out, except in streamed requests. Servers build their addresses from it: Orthanc's
#            RetrieveURL (0008,1190) then names port 80.
# Seen       asked at port P: search_for_studies gives RetrieveURL http://127.0.0.1/dicom-web/studies/…, urllib at the same address
#            http://127.0.0.1:P/dicom-web/studies/…. Host of a search: 127.0.0.1, of iter_bulkdata: 127.0.0.1:P.
# Meaning    following RetrieveURL or BulkDataURI of an answer goes to a port where nothing, or something else, listens. It
#            shows only where the port is not 80 or 443: in tests and behind proxies. Build the addresses from UIDs.
set -euo pipefail
work=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || { kill "$orthanc"; wait "$orthanc" || true; }; rm -rf "$work"' EXIT
Orthanc --version | sed -n 1p
dpkg-query -W -f '${Package} ${Version}\n' orthanc orthanc-dicomweb 2>/dev/null || true
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 dicomweb-client==0.61.2
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
plugin=$(find /usr/share/orthanc /usr/lib -name libOrthancDicomWeb.so | sort | sed -n 1p)
cat > "$work/orthanc.json" <<END
{"StorageDirectory": "$work/db", "IndexDirectory": "$work/db", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomWeb": {"Enable": true, "Root": "/dicom-web/"},
 "Plugins": ["$plugin"]}
END
Orthanc "$work/orthanc.json" >"$work/log" 2>&1 &
orthanc=$!
"$work/venv/bin/python" - "$port" <<'END'
import io
import json
import socket
import sys
import threading
import time
from urllib.error import URLError
from urllib.request import urlopen

from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

PORT = sys.argv[1]
SERVER = f"http://127.0.0.1:{PORT}"
for _ in range(150):
    try:
        urlopen(SERVER + "/system", timeout=20).close()
        break
    except URLError:
        time.sleep(0.2)
film = Dataset()
film.file_meta = FileMetaDataset()
film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
film.PatientID, film.StudyInstanceUID, film.SeriesInstanceUID = "T1", generate_uid(), generate_uid()
with io.BytesIO() as file:
    film.save_as(file, enforce_file_format=True)
    urlopen(SERVER + "/instances", data=file.getvalue(), timeout=20).close()

by_client = DICOMwebClient(SERVER + "/dicom-web").search_for_studies()[0]["00081190"]["Value"][0]
with urlopen(SERVER + "/dicom-web/studies", timeout=20) as answer:
    by_urllib = json.load(answer)[0]["00081190"]["Value"][0]
print("RetrieveURL, dicomweb-client:", by_client[:45], "urllib:", by_urllib[:45])


def host(ask):
    """The Host header that a call sends, and the one that it should."""
    listening = socket.create_server(("127.0.0.1", 0))
    seen = []

    def run():
        with listening, listening.accept()[0] as peer:
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            seen.extend(line for line in got.decode().split("\r\n") if line.startswith("Host: "))
            peer.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n"
                         b"Content-Type: multipart/related; boundary=B\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=run)
    thread.start()
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    try:
        ask(DICOMwebClient(f"http://{address}"), f"http://{address}/bulk")
    except ValueError:  # an answer without content: only the request is looked at
        pass
    thread.join()
    return seen, address


search, _ = host(lambda client, url: client.search_for_studies())
streamed, address = host(lambda client, url: list(client.iter_bulkdata(url)))
print("search:", search, "iter_bulkdata:", streamed)
as_stated = by_client.startswith("http://127.0.0.1/dicom-web/") and by_urllib.startswith(SERVER + "/dicom-web/")
as_stated &= search == ["Host: 127.0.0.1"] and streamed == [f"Host: {address}"]
sys.exit(0 if as_stated else 1)
END
