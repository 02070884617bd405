"""The audit trail for other systems: DICOM audit messages, and their way to a syslog server.

The trail itself is written by triggers of the database (migration r0006); ``trail`` reads it.

May import: ``store``. Begin with ``trail.py``.
"""
