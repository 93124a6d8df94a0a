"""A store in PostgreSQL: what sinks write and gateways read."""
