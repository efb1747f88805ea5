"""Sources of training streams, and their tokenized data sets."""
