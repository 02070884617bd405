#!/usr/bin/env bash
# pydicom compresses 8 bits stored in 16-bit words to an RLE stream that nobody can read, itself included
#
# Versions   pydicom 3.0.2, with its own RLE encoder and with pylibjpeg-rle 2.2.0; DCMTK's dcmdrle and dcmcrle
#            (Debian's, printed below).
# Behaviour  BitsAllocated 16 with BitsStored 8 is valid, and some consoles send it. compress(RLELossless) of such an
#            image writes two segments, as BitsAllocated asks for, that hold half as many bytes each as there are pixels.
#            It raises nothing; reading back raises with pydicom's decoder and with pylibjpeg's, and dcmdrle fails as
#            well. pylibjpeg's encoder, which is asked first where it is installed, refuses; the default then falls back
#            on pydicom's own without a word.
# Seen       64 x 64 pixels: "The amount of decoded RLE segment data doesn't match the expected amount (2048 vs. 4096
#            bytes)". With 9 stored bits everything is right; JPEG-LS and JPEG 2000 by the same call are right; the RLE
#            that dcmcrle makes of the same image is read by both.
# Meaning    an archive that saves space by this call keeps a picture that is lost, and finds out when it is wanted.
#            Read back what was compressed before the original goes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dcmdrle --version | sed -n 1p
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pydicom==3.0.2 pylibjpeg==2.1.0 \
    pylibjpeg-rle==2.2.0 pylibjpeg-openjpeg==2.6.0 pyjpegls==1.5.1
cd "$work"
"$work/venv/bin/python" - <<'END'
import subprocess
import sys

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid,
)


def film(bits):
    """A ramp of that many bits in 16-bit words."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = 64, 64, 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, bits, bits - 1, 0
    made.PixelData = ramp(bits).tobytes()
    made["PixelData"].VR = "OW"
    return made


def ramp(bits):
    return (np.arange(4096).reshape(64, 64) % 2**bits).astype("<u2")


def outcome(path, bits, plugin=""):
    try:
        return "right" if np.array_equal(pixel_array(dcmread(path), decoding_plugin=plugin), ramp(bits)) else "WRONG"
    except RuntimeError as error:
        return "raises: " + str(error).split(":", 2)[-1].strip()


def by_dcmtk(path, bits):
    ended = subprocess.run(["dcmdrle", path, "native.dcm"], capture_output=True, text=True)
    return outcome("native.dcm", bits) if ended.returncode == 0 else f"status {ended.returncode}"


as_stated = True
for bits in (8, 9):
    for encoder in ("", "pydicom"):
        made = film(bits)
        made.compress(RLELossless, encoding_plugin=encoder, generate_instance_uid=False)
        made.save_as("rle.dcm", enforce_file_format=True)
        seen = {reader: outcome("rle.dcm", bits, reader) for reader in ("pydicom", "pylibjpeg")}
        seen["dcmdrle"] = by_dcmtk("rle.dcm", bits)
        print(f"{bits} bits in 16, compressed by {encoder or 'the default'}:", seen)
        as_stated &= all((answer == "right") == (bits == 9) for answer in seen.values())
try:
    film(8).compress(RLELossless, encoding_plugin="pylibjpeg")
    as_stated = False
except RuntimeError as error:
    print("8 bits in 16, compressed by pylibjpeg: refused:", str(error).split(":", 2)[-1].strip())
for syntax in (JPEGLSLossless, JPEG2000Lossless):
    made = film(8)
    made.compress(syntax, generate_instance_uid=False)
    made.save_as("other.dcm", enforce_file_format=True)
    print("8 bits in 16,", syntax.name + ":", outcome("other.dcm", 8))
    as_stated &= outcome("other.dcm", 8) == "right"
film(8).save_as("plain.dcm", enforce_file_format=True)
subprocess.run(["dcmcrle", "plain.dcm", "theirs.dcm"], check=True)
print("8 bits in 16, compressed by dcmcrle:", outcome("theirs.dcm", 8, "pydicom"), outcome("theirs.dcm", 8, "pylibjpeg"))
as_stated &= outcome("theirs.dcm", 8, "pydicom") == outcome("theirs.dcm", 8, "pylibjpeg") == "right"
sys.exit(0 if as_stated else 1)
END
