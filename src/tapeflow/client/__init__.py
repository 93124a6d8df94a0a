"""A client of a running Tapeflow: rows as they come, and history, from Python."""
