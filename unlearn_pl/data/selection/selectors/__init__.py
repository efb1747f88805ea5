"""The selectors."""
