"""Run by Alembic: migrates through the connection that `gesso.storage.migrations.upgrade` hands over."""

from alembic import context

from gesso.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
