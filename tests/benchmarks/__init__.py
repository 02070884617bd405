"""Benchmarks: they print tables and assert nothing. ``make benchmark`` runs all, ``python -m tests.benchmarks NAME`` one."""
