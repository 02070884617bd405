"""The audit trail for other systems: DICOM audit messages, and their way to a syslog server."""
