"""What others see of a run: REST, stream, page, metrics and health, and who may ask."""
