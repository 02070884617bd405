#!/usr/bin/env bash
# importing WeasyPrint makes Pillow accept damaged pictures everywhere in the process
#
# Versions   WeasyPrint 70.0 and 62.3 with Pillow 12.0.0. Needs Pango (Debian: libpango-1.0-0 libpangoft2-1.0-0).
# Behaviour  WeasyPrint sets PIL.ImageFile.LOAD_TRUNCATED_IMAGES to True when it is imported, so that web pages with
#            broken pictures can be printed. The setting is Pillow's for the whole process: code that has nothing to do
#            with pages no longer gets an error for half a picture.
# Seen       half of a PNG: before the import "OSError: image file is truncated", after it a picture of full size whose
#            lower rows are 0.
# Meaning    a program that also prints a report reads half a film as a whole one, from then on, depending on which
#            ran first. Put the setting back after the import.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/try.py" <<'END'
import io
import sys

from PIL import Image, ImageFile

whole = io.BytesIO()
Image.effect_noise((200, 200), 60).save(whole, "PNG")
half = whole.getvalue()[: len(whole.getvalue()) // 2]


def read() -> str:
    try:
        picture = Image.open(io.BytesIO(half))
        picture.load()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    lower = picture.crop((0, 150, 200, 200)).getextrema()
    return f"picture of {picture.size}, its lower quarter {lower}"


before = read()
import weasyprint  # noqa: E402 - what is tried is this import

after = read()
print("WeasyPrint", weasyprint.__version__, "| before:", before, "| after:", after, "|", ImageFile.LOAD_TRUNCATED_IMAGES)
stated = before.startswith("OSError") and after == "picture of (200, 200), its lower quarter (0, 0)"
sys.exit(0 if stated else 1)
END
for version in 70.0 62.3; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check "weasyprint==$version" pydyf==0.11.0 pillow==12.0.0
  "$work/$version/bin/python" -c "import weasyprint" 2>/dev/null || { echo "WeasyPrint needs Pango here"; exit 77; }
  "$work/$version/bin/python" "$work/try.py"
done
