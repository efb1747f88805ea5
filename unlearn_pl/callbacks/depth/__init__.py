"""The unlearning depth score."""
