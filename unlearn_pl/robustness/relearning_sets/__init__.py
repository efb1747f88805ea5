"""Training sets of relearning attacks."""
