"""A benchmark about fictitious authors, generated in code."""
