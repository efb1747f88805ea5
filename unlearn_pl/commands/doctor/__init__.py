"""``unlearn-pl doctor``: what is installed and within reach, and what a recipe lacks, before any work is done."""

from unlearn_pl.commands.doctor.command import main

__all__ = ["main"]
