"""Rows that occur twice, or in two streams."""
