"""The reference systems, each one file: `tapeflow recipe list`."""
