"""Flows as data: nodes, builder, validation, plan."""
