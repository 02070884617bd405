"""How images come in: the listener, the watched folder, assembly into studies, selection."""
