"""Relearning attacks on models that several methods have unlearned."""
