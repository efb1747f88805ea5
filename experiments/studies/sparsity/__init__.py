"""Sparsity and unlearning: classifiers of real digits, and a tiny language model."""
