"""Combiners of gradients against a sweep of fixed weights."""
