"""Codecs of venues, without I/O: frames in, events and actions out. One folder each, found by name."""
