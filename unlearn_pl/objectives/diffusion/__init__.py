"""Losses on the predictions of diffusion models."""
