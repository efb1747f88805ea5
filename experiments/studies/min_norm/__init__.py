"""The defaults of MinNorm."""
