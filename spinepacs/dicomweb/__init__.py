"""DICOMweb (PS3.18): images in (STOW-RS), films and results out (QIDO-RS, WADO-RS), as a process of its own.

It may import the console's passwords and darkroom and what stands below the console; nothing but `serve` imports it.
Begin to read in :mod:`spinepacs.dicomweb.app`.
"""
