"""What survives a crash: the spool of files and the ledger of facts; knows no DICOM library."""
