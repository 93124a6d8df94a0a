"""The embedded engine: batches, state, watermark, snapshot."""
