"""The parser of the command line, without running anything."""

from lightning.pytorch.cli import LightningArgumentParser

from unlearn_pl.commands.trainer import UnlearnCLI


class _Built(BaseException):
    """Carries the parser out of the constructor that would go on to parse and run."""


class _ParserOnly(UnlearnCLI):
    def parse_arguments(self, parser, args):
        raise _Built(parser)


def parser() -> LightningArgumentParser:
    """The parser of the four commands of the Trainer."""
    try:
        _ParserOnly([])
    except _Built as built:
        return built.args[0]
    raise AssertionError("the parser was not built")
