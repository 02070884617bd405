#!/usr/bin/env bash
# python-hl7: one message longer than 64 KiB comes out of the MLLP reader as several errors
#
# Versions   hl7 0.4.5 (python-hl7).
# Behaviour  the reader of hl7.mllp has asyncio's limit for a line, 64 KiB, unless `limit` is given; neither MLLP nor HL7 has one, and an
#            ORU with a PDF in OBX-5 is longer. Reading such a message raises ValueError (the writer has no limit). Then
#            what has arrived is dropped, and the rest of the same message is read as the next one: more ValueErrors, and often
#            an InvalidBlockError, how many depends on how the bytes arrive.
# Seen       60 kB: one block. 100 kB: at least one ValueError, no block. 1 MB: a ValueError and at least one error more, no
#            block (here five in all).
# Meaning    a receiver that answers each error with a NAK gives several answers to one message, and from then on its answers
#            belong to other messages than the sender thinks. Give `limit`, and hang up at the first error.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check hl7==0.4.5
"$work/venv/bin/python" - <<'END'
import asyncio
import sys

from hl7.mllp import InvalidBlockError, open_hl7_connection, start_hl7_server


async def received(size):
    """What a receiver's reads of one message come to, until the sender has closed."""
    seen, done = [], asyncio.Event()

    async def receive(reader, writer):
        while True:
            try:
                seen.append(len(await reader.readblock()))
            except asyncio.IncompleteReadError:
                break
            except (ValueError, InvalidBlockError) as error:
                seen.append(type(error).__name__)
        writer.close()
        done.set()

    server = await start_hl7_server(receive, "127.0.0.1", 0)
    _, writer = await open_hl7_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.writeblock(b"MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\rOBX|1|ED|PDF||" + b"A" * size + b"\r")
    await writer.drain()
    writer.close()
    await asyncio.wait_for(done.wait(), 30)
    server.close()
    print(f"{size} bytes:", seen)
    return seen


short, longer, long = (asyncio.run(received(size)) for size in (60_000, 100_000, 1_000_000))
as_stated = len(short) == 1 and short[0] > 60_000
as_stated &= longer[0] == "ValueError" and not any(isinstance(one, int) for one in longer)
as_stated &= len(long) > 1 and long[0] == "ValueError" and not any(isinstance(one, int) for one in long)
sys.exit(0 if as_stated else 1)
END
