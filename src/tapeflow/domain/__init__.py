"""Values and laws: events, numbers, time, windows, folds and steps. No I/O, no clock, nothing from above."""
