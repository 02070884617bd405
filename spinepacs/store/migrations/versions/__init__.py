"""One module for each migration. A released one is never changed."""
