#!/usr/bin/env bash
# dicomweb-client: after one 503 a large store is sent again without its content, and the call succeeds
#
# Versions   dicomweb-client 0.61.2 (with retrying 1.4.2), pydicom 3.0.2.
# Behaviour  the client asks again after 408, 429, 503 and 504: five times, with 2, 4, 8 and 16 s between. Bodies larger than its
#            chunk_size (1 000 000 bytes unless set) are sent in chunks from a generator, which the first try has used up: the
#            second sends a body of 0 bytes under the same headers. Whatever the server says to that is the result. Where
#            all five tries end so, the error is retrying.RetryError: no HTTPError, nor any RequestException.
# Seen       503, then 200. 20 kB: two POSTs of the same size. 2 MB: a POST of the whole and one of 0 bytes; store_instances returns
#            an empty dataset, no error. 503 only: 5 GETs in 30 s, then RetryError.
# Meaning    a server that is busy for a moment loses the images that were sent meanwhile, if it accepts an empty request.
#            Switch the retries off (set_http_retry_params(retry=False)), try again yourself, and catch both kinds of errors.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dicomweb-client==0.61.2 retrying==1.4.2 pydicom==3.0.2
"$work/venv/bin/python" - <<'END'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from requests import RequestException

answers, seen = [], []


class Server(BaseHTTPRequestHandler):
    """Answers each request with the next code; the last one stays."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        size = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while chunk := int(self.rfile.readline(), 16):
                size += len(self.rfile.read(chunk))
                self.rfile.readline()
            self.rfile.readline()
        seen.append(size)
        code = answers.pop(0) if len(answers) > 1 else answers[0]
        body = b"{}" if code == 200 else b""
        self.send_response(code)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST


def film(side_px):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    made.PatientID, made.StudyInstanceUID, made.SeriesInstanceUID = "T1", generate_uid(), generate_uid()
    made.Rows = made.Columns = side_px
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 0, 1
    made.PhotometricInterpretation, made.PixelData = "MONOCHROME2", bytes(2 * side_px * side_px)
    return made


def tried(name, codes, call):
    """What the call came to, and the sizes of the requests that the server saw."""
    seen.clear()
    answers[:] = codes
    began = time.monotonic()
    try:
        result = call()
    except Exception as error:
        result = error
    print(f"{name}: {type(result).__name__} {str(result)!r:.60}, requests {seen}, {time.monotonic() - began:.0f} s")
    return result, list(seen)


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = DICOMwebClient(f"http://127.0.0.1:{server.server_address[1]}")
small, sizes = tried("20 kB", [503, 200], lambda: client.store_instances([film(100)]))
as_stated = small == Dataset() and len(sizes) == 2 and sizes[0] == sizes[1] > 20_000
large, sizes = tried("2 MB", [503, 200], lambda: client.store_instances([film(1000)]))
as_stated &= large == Dataset() and len(sizes) == 2 and sizes[0] > 2_000_000 and sizes[1] == 0
busy, sizes = tried("only 503", [503], client.search_for_studies)
as_stated &= type(busy).__name__ == "RetryError" and not isinstance(busy, RequestException) and len(sizes) == 5
server.shutdown()
sys.exit(0 if as_stated else 1)
END
