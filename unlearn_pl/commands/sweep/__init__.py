"""``unlearn-pl sweep``: a recipe with several values and seeds, and the front of the runs."""

from unlearn_pl.commands.sweep.command import main

__all__ = ["main"]
