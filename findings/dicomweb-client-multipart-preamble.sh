#!/usr/bin/env bash
# dicomweb-client: what stands before the first boundary becomes bulk data, and what never ended is given as whole
#
# Versions   dicomweb-client 0.61.2.
# Behaviour  RFC 2046 5.1.1 lets a multipart body begin with a preamble, which is to be ignored ("This is a multi-part
#            message …"). The client takes it for a part: without a blank line in it the call ends in a ValueError, with
#            one the preamble's last paragraph is returned as the first item. It does not ask for the closing boundary
#            either: where an answer has no Content-Length, its end is the end of the connection, which HTTP cannot tell
#            from a server that died, and half of a part is returned as if it were the part.
# Seen       one part of 100 bytes. Plain: [100]. With a preamble: ValueError "subsection not found". With a preamble of two
#            paragraphs: [9, 100]. Connection closed after 33 of the 100: [33], no error. retrieve_ and iter_ alike.
# Meaning    count the parts that you asked for, and look for the closing boundary yourself before you believe that pixel
#            data is whole; Content-Length and chunked answers are safe from the second, not from the first.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dicomweb-client==0.61.2
"$work/venv/bin/python" - <<'END'
import socket
import sys
import threading

from dicomweb_client import DICOMwebClient

HEAD = (b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
        b'Content-Type: multipart/related; type="application/octet-stream"; boundary=B\r\n')
PART = b"--B\r\nContent-Type: application/octet-stream\r\n\r\n" + b"x" * 100
WHOLE = PART + b"\r\n--B--\r\n"


def serve(answer):
    """Answer one request with these bytes and close; returns the port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run():
        with listening, listening.accept()[0] as peer:
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            peer.sendall(answer)

    threading.Thread(target=run).start()
    return listening.getsockname()[1]


def sizes(body, streamed, length=True):
    """Sizes of the items that the client returns, or its error."""
    head = HEAD + (b"Content-Length: %d\r\n" % len(body) if length else b"") + b"\r\n"
    url = f"http://127.0.0.1:{serve(head + body)}"
    client = DICOMwebClient(url)
    ask = client.iter_bulkdata if streamed else client.retrieve_bulkdata
    try:
        return [len(item) for item in ask(url + "/bulk")]
    except ValueError as error:
        return str(error)


as_stated = True
for streamed in (False, True):
    found = {
        "plain": sizes(WHOLE, streamed),
        "preamble": sizes(b"This is a multi-part message.\r\n" + WHOLE, streamed),
        "preamble of two paragraphs": sizes(b"Multi-part message.\r\n\r\nAnd more.\r\n" + WHOLE, streamed),
        "closed early": sizes(PART[:-67], streamed, length=False),
    }
    print("iter_bulkdata" if streamed else "retrieve_bulkdata", found)
    as_stated &= list(found.values()) == [[100], "subsection not found", [9, 100], [33]]
sys.exit(0 if as_stated else 1)
END
