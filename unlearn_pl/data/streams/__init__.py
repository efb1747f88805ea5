"""Sources of training examples, and their datasets."""
