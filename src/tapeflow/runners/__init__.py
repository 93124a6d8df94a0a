"""Flows on engines that are not ours: each folder compiles a flow into what its engine runs."""
