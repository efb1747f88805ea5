"""What callbacks change about the steps of the optimizer."""
