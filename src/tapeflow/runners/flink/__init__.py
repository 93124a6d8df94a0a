"""Flink: folds as keyed SQL aggregations, steps as a keyed process function that calls the same Python steps.

What a flow gives here is what the embedded engine gives: the last row of every window and of every indicator is equal,
values, counts and revisions. `spec` says what is run, `sql` is the folds, `line` and `stage` are the steps, free of
Flink; `process` and `job` put them together inside Flink's own Python; `submit` starts it, `rest` asks about it.
"""
