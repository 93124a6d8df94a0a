"""Pure generators of market data."""
