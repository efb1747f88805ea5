"""Rows of evaluation splits."""
