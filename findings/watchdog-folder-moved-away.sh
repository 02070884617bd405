#!/usr/bin/env bash
# watchdog goes on reporting files of a folder that was moved out of the watched tree, under paths that do not exist
#
# Versions   watchdog 7.1.0 on Linux (inotify), 6.0.0 beside it for comparison.
# Behaviour  a folder inside a recursively watched tree is moved out (the ordinary "done" or "archive" step). The
#            kernel's watch stays on the folder, wherever it goes; watchdog reports DirDeleted and keeps the watch
#            with the old path. Whatever is written there later is reported as created, modified and closed at the
#            old path inside the tree, where there is nothing.
# Seen       7.1.0 and 6.0.0: after `mv watched/study archive/study`, writing archive/study/later.dcm gives
#            created, modified and closed of watched/study/later.dcm.
# Meaning    an event is a hint, not a fact: a receiver that opens event paths sees "file not found" for files that
#            nobody put there, and one that counts events counts the archive's. Look whether the path exists.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
cat > "$work/try.py" <<'END'
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

base = Path(mkdtemp(dir=sys.argv[1]))
watched, archive = base / "watched", base / "archive"
(watched / "study").mkdir(parents=True)
archive.mkdir()
seen = []


class Listener(FileSystemEventHandler):
    def on_any_event(self, event):
        seen.append((event.event_type, str(Path(event.src_path).relative_to(base))))


observer = Observer()
observer.schedule(Listener(), str(watched), recursive=True)
observer.start()
time.sleep(1)
(watched / "study").rename(archive / "study")
time.sleep(2)  # both: inotify pairs the halves of a move within half a second
seen.clear()
(archive / "study" / "later.dcm").write_bytes(b"x")
time.sleep(2)
observer.stop()
observer.join()
ghosts = [event for event, path in seen if path == "watched/study/later.dcm" and not (base / path).exists()]
print("watchdog", version("watchdog"), "after the move:", *ghosts)
sys.exit(0 if {"created", "modified", "closed"} <= set(ghosts) else 1)
END
for version in 7.1.0 6.0.0; do
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "watchdog==$version"
    "$work/venv/bin/python" "$work/try.py" "$work"
done
