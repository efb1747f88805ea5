"""LLM unlearning with PyTorch Lightning: a gradient per objective, combined at every step."""

__version__ = "0.1.0"
