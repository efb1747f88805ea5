"""Gradients without backpropagation: slopes of the losses along directions or coordinates."""
