"""Scores and metrics of TOFU."""
