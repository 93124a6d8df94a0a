"""Alerts: rules that the server keeps and judges by rows that cannot be missed, events told at least once.

A row reaches a rule by its topic's cursor, so a restart goes on where it was; an event is in the journal, on disk,
before anybody is told of it, and has an identifier made of rule, topic and row, so that it is there once.
"""
