"""Reading → TID 1500 structured report: measurement groups by disc and vertebra, coded signs, conclusions.

May import: ``domain``, ``dicom.identity``, ``dicom.codes``. Begin with ``document.py``.
"""
