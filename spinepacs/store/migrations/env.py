"""Alembic runs this to upgrade the database behind the connection that spinepacs.store.migration hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
