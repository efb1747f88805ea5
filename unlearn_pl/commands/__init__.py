"""Commands of ``unlearn-pl``, one per file."""
