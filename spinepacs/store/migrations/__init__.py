"""Alembic's environment and the migrations; started by spinepacs.store.migration, not by the alembic command."""
