#!/usr/bin/env bash
# pynetdicom: an acceptor that works longer than network_timeout answers "success" and aborts in the same breath
#
# Versions   pynetdicom 3.0.4 as the receiver; DCMTK's storescu (Debian's, printed below) as the sender.
# Behaviour  network_timeout (60 s unless set) is said to be the wait for the peer. Its timer restarts only when bytes
#            arrive, and it runs on while the acceptor's own C-STORE handler works. When the handler took longer, its
#            answer still goes out, and the reactor's next look at the timer aborts the association.
# Seen       network_timeout 1 s, handler 2.5 s, two images in one association, nobody idle: the first is stored and
#            answered with 0x0000, then A-ABORT; the second never arrives; storescu ends with a status that is not 0.
# Meaning    a minute of slow disk makes a receiver that stored everything look broken: the sender sees a failed
#            association and sends again what it was told is safe. Keep handlers short, or set network_timeout
#            above the slowest store.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
/usr/bin/storescu --version | sed -n 1p
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4
cd "$work"
"$work/venv/bin/python" - <<'END'
import subprocess
import sys
import time

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt

for name in ("one.dcm", "two.dcm"):
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    film.PatientID, film.StudyInstanceUID, film.SeriesInstanceUID = "T1", generate_uid(), generate_uid()
    film.save_as(name, enforce_file_format=True)


def session(timeout_s):
    """Both images over one association: what the receiver saw, and the sender's exit status."""
    seen = []

    def store(event):
        time.sleep(2.5)
        seen.append("stored")
        return 0x0000

    entity = AE()
    entity.network_timeout = timeout_s
    entity.add_supported_context(ComputedRadiographyImageStorage)
    watch = [(evt.EVT_C_STORE, store), (evt.EVT_ABORTED, lambda event: seen.append("aborted")),
             (evt.EVT_RELEASED, lambda event: seen.append("released"))]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=watch)
    port = str(server.server_address[1])
    sender = subprocess.run(["/usr/bin/storescu", "-v", "127.0.0.1", port, "one.dcm", "two.dcm"],
                            capture_output=True, text=True, timeout=60)
    time.sleep(1)
    server.shutdown()
    answers = sender.stderr.count("Received Store Response (Success)")
    print(f"network_timeout {timeout_s} s: receiver {seen}, success answers {answers}, sender's status", sender.returncode)
    return seen, answers, sender.returncode == 0


as_stated = session(60) == (["stored", "stored", "released"], 2, True)
as_stated &= session(1) == (["stored", "aborted"], 1, False)
sys.exit(0 if as_stated else 1)
END
