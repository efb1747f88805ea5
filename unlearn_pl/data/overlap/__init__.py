"""Duplicate rows within a stream, and rows that two streams have in common."""
