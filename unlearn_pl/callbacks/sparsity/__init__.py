"""Training of sparse models."""
