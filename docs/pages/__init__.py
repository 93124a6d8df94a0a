"""Pages of the reference that the source says itself, a module for each; `docs/generate.py` writes them."""
