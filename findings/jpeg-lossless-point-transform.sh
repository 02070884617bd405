#!/usr/bin/env bash
# Which JPEG lossless decoder is installed decides whether a film is seen or is all white
#
# Versions   DCMTK (Debian's, printed below) as the writer and as a witness; pydicom 3.0.2 with
#            pylibjpeg-libjpeg 2.5.0 and with python-gdcm 3.2.6; imagecodecs 2026.3.6.
# Behaviour  JPEG lossless (Process 14, both transfer syntaxes) may carry a point transform Pt: the encoder drops
#            Pt low bits and the decoder puts zeros in their place (ITU-T T.81, A.4 and H.1). The first sample is then
#            predicted from 2^(P-Pt-1). pylibjpeg-libjpeg starts from 2^(P-1), so that every sample of the image is
#            too large and runs into the upper limit; no error, no warning. imagecodecs has three decoders for such
#            a stream: jpeg_decode is right, ljpeg_decode has a wrong offset, jpegsof3_decode forgets to scale back.
# Seen       12-bit ramp 0, 4, 8 ... with Pt 2: DCMTK, gdcm and jpeg_decode give 0, 4, 8; pylibjpeg gives 4095 in every
#            pixel; ljpeg_decode 24576, 24577 ...; jpegsof3_decode 0, 1, 2. With Pt 1 the error is 32768 and pydicom's
#            mask of 12 bits happens to remove it. dcmcjpeg sets no LossyImageCompression although bits may be gone.
# Meaning    pydicom asks its decoders in turn, and gdcm comes first where it is installed: the same program reads the
#            same valid film rightly on one machine and as plain white on the next. Look at Ss/Se/Ah/Al of the scan
#            header (Al is Pt) before trusting a lossless decoder.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dcmcjpeg --version | sed -n 1p
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pydicom==3.0.2 \
    pylibjpeg==2.1.0 pylibjpeg-libjpeg==2.5.0 python-gdcm==3.2.6 imagecodecs==2026.3.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import subprocess
import sys

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

ramp = (np.arange(4096).reshape(64, 64) // 4 * 4).astype("<u2")  # low two bits zero: Pt 1 and 2 lose nothing
film = Dataset()
film.file_meta = FileMetaDataset()
film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
film.Rows, film.Columns, film.SamplesPerPixel, film.PhotometricInterpretation = 64, 64, 1, "MONOCHROME2"
film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
film.PixelData = ramp.tobytes()
film["PixelData"].VR = "OW"
film.save_as("plain.dcm", enforce_file_format=True)

always_right = {"dcmtk", "pydicom + gdcm", "imagecodecs.jpeg_decode"}
as_stated = True
for shift in (0, 1, 2):
    subprocess.run(["dcmcjpeg", "+e1", "+pt", str(shift), "plain.dcm", "packed.dcm"], check=True)
    subprocess.run(["dcmdjpeg", "packed.dcm", "unpacked.dcm"], check=True)
    packed = dcmread("packed.dcm")
    frame = next(generate_frames(packed.PixelData, number_of_frames=1))
    answers = {
        "dcmtk": dcmread("unpacked.dcm").pixel_array,
        "pydicom + gdcm": pixel_array(packed, decoding_plugin="gdcm"),
        "pydicom + pylibjpeg": pixel_array(packed, decoding_plugin="pylibjpeg"),
        "imagecodecs.jpeg_decode": imagecodecs.jpeg_decode(frame),
        "imagecodecs.ljpeg_decode": imagecodecs.ljpeg_decode(frame),
        "imagecodecs.jpegsof3_decode": imagecodecs.jpegsof3_decode(frame),
    }
    print(f"Pt {shift}: LossyImageCompression {packed.get('LossyImageCompression')}, truth {ramp[0, ::4][:4]}")
    for name, answer in answers.items():
        right = bool(np.array_equal(answer, ramp))
        print(f"  {'right' if right else 'WRONG'}  {name:28} {answer[0, ::4][:4]}")
        spared = shift == 0 or (shift == 1 and name == "pydicom + pylibjpeg")
        as_stated &= right == (spared or name in always_right)
    as_stated &= "LossyImageCompression" not in packed
    if shift == 2:
        as_stated &= bool((answers["pydicom + pylibjpeg"] == 4095).all())
sys.exit(0 if as_stated else 1)
END
