"""The training extra: films from meshes, data sets, training, evaluation, export. Nothing imports it."""
