"""The simulated exchange's sockets: the venue's own WebSocket and REST, on this machine only."""
