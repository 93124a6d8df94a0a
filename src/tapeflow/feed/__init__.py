"""The I/O of a venue: sockets, HTTP, reconnection, staleness, refill. What arrives goes to the tape, nowhere else."""
