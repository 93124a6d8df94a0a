"""Real servers on loopback, without containers, for development and tests: one file per service."""
