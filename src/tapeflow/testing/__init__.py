"""The public test kit: laws and conformance suites."""
