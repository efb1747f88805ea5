"""Ways to prune a finished model."""
