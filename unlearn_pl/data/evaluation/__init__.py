"""Rows of evaluation splits, and their tokenized data sets."""
