"""Weights of gradients from their Gramian."""
