"""Rounding of weights to few bits."""
