"""Benchmarks: they print tables and assert nothing. ``make benchmark`` runs all of them."""
