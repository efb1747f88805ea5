"""``unlearn-pl corrupt``: noise in the weights of a model, from which distillation then makes a new one."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.models.arithmetic.combine import combine_folders
from unlearn_pl.models.arithmetic.noise import noised
from unlearn_pl.results import check_writable


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl corrupt ARGS``."""
    call(corrupt, corrupt_parser(), args)


def corrupt_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(corrupt, "Put noise into the weights of a model.")


def corrupt(model: str, output: str, share: float = 0.4, scale: float = 0.1, seed: int = 0) -> None:
    """Write a model whose weights are ``(1 - share) theta + share * scale * N``, with ``N`` Xavier's noise.

    What an unlearned model still holds is lost with them; distillation from it, on data without the forget set, then
    makes a model that behaves like it. The folder of the model is only read, a tensor at a time.

    Args:
        model: folder of an unlearned model.
        output: folder to write.
        share: how much of the weights is lost, in (0, 1].
        scale: size of the noise relative to Xavier's initialization.
        seed: random seed of the noise.

    Raises:
        ValueError: if an argument is out of range, the folder holds no whole model in safetensors, or ``output`` cannot
            be written.
    """
    rule = noised(share, scale, seed)
    check_writable(Path(output).absolute().parent, "--output")
    combine_folders(model, model, output, rule)
    print(f"Written to {output}")
