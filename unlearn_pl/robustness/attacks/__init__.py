"""Attacks on unlearned models."""
