"""Every translation between DICOM datasets and the domain."""
