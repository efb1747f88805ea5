"""``unlearn-pl lens``: lenses for the states of inner layers, trained on the model before unlearning."""

from unlearn_pl.commands.lens.command import main

__all__ = ["main"]
