"""Parsers of the commands: recipes are found by name, and names of earlier versions are understood."""

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace, get_loader
from lightning.pytorch.cli import LightningArgumentParser

from unlearn_pl.commands.errors import DEBUG_VARIABLE
from unlearn_pl.commands.help.short_help import ShortHelp
from unlearn_pl.commands.recipes import find_recipe
from unlearn_pl.masking import check_unmasked, masked, masked_message
from unlearn_pl.printable import printable
from unlearn_pl.upgrading import current_path, upgraded

_FULL_PATH = re.compile(r"(?<![\w./-])unlearn_pl(?:\.\w+){3,}(?![\w./-])")
_NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)
"""A value, and no option; argparse itself takes -1e-3 for an option."""


class RecipeAction(ActionConfigFile):
    """Reads a configuration file, or a recipe by its name; see :func:`~unlearn_pl.commands.recipes.find_recipe`."""

    def __call__(self, parser: Any, cfg: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        """Merge the configuration into ``cfg``."""
        try:
            found = find_recipe(values)
        except ValueError as error:
            raise ArgumentError(self, str(error)) from error
        super().__call__(parser, cfg, found, option_string)


class UpgradingParser(ArgumentParser):
    """Reads configurations of earlier versions in today's terms; see :func:`~unlearn_pl.upgrading.upgraded`.

    Its errors are one line, with what was probably meant; with ``JSONARGPARSE_DEBUG`` they are jsonargparse's own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("prog", "unlearn-pl")  # parsers of a class's help would be called after the main module
        kwargs.setdefault("formatter_class", ShortHelp)
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = _NEGATIVE_NUMBER

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with status 2 and one line on standard error."""
        if not self.exit_on_error or os.environ.get(DEBUG_VARIABLE):
            super().error(message, ex)
        from unlearn_pl.commands.help.hints import explained

        parser = getattr(ex, "subcommand_parser", None) or self
        told = explained(masked_message(message).removeprefix("argument -c/--config: "), parser.get_defaults().keys())
        more = f" (`{parser.prog.replace(' [options]', '')} --help` lists all arguments)"
        print(f"error: {printable(told)}{'' if 'ou mean' in told else more}", file=sys.stderr)
        self.exit(2)

    def parse_string(
        self,
        content: str,
        path: str | os.PathLike[str] = "",
        ext_vars: dict[str, Any] | None = None,
        env: bool | None = None,
        defaults: bool = True,
        **kwargs: Any,
    ) -> Namespace:
        """Parse a configuration, be it the content of a file or given on the command line."""
        return super().parse_string(_upgraded_yaml(content), path, ext_vars, env, defaults, **kwargs)

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The text of a configuration, with masks in the place of secrets."""
        text = self._dumped(*args, **kwargs)
        try:
            plain = get_loader("yaml")(text)
        except yaml.YAMLError:  # another format
            return masked_message(text)
        if (safe := masked(plain)) == plain:
            return text
        if text.startswith("{"):
            return json.dumps(safe, indent=2)
        header = [line for line in text.splitlines(keepends=True) if line.startswith("#")]
        return "".join(header) + yaml.safe_dump(safe, sort_keys=False)

    def _dumped(self, *args: Any, **kwargs: Any) -> str:
        """What jsonargparse writes, read back as it was.

        Where a function or a string is accepted, it takes a string, too, for an object without a name, writes the
        warning into the configuration, and goes on; with an error in its place, it tries the string.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=r"\s*Unable to serialize instance")
            try:
                return super().dump(*args, **kwargs)
            except UserWarning:  # an object that no text stands for
                pass
        return super().dump(*args, **kwargs)


class TrainerParser(UpgradingParser, LightningArgumentParser):
    """The same for the commands of Lightning's Trainer."""


def add_config_argument(parser: ArgumentParser) -> None:
    """Add ``-c`` to ``parser``."""
    help_ = "YAML file, or name of a recipe (`unlearn-pl recipes`); of several, later ones take precedence"
    parser.add_argument("-c", "--config", action=RecipeAction, help=help_)


def function_parser(command: Callable[..., None], description: str) -> ArgumentParser:
    """The parser of ``unlearn-pl NAME``, whose arguments, and those of its YAML files, are those of a function.

    Args:
        command: the function, of the command's name.
        description: one sentence.
    """
    parser = UpgradingParser(prog=f"unlearn-pl {command.__name__}", description=description)
    add_config_argument(parser)
    parser.add_function_arguments(command, fail_untyped=True)
    return parser


def call(command: Callable[..., None], parser: ArgumentParser, args: Sequence[str]) -> None:
    """Call the function of a command with the arguments ``args``, as ``parser`` reads them."""
    config = parser.parse_args(current_arguments(args))
    check_unmasked(config)
    given = parser.instantiate_classes(config).as_dict()
    command(**{name: value for name, value in given.items() if name != "config"})


def current_arguments(args: Sequence[str]) -> list[str]:
    """``args`` with today's paths of all classes that are named by a full path."""
    return [_FULL_PATH.sub(lambda found: current_path(found[0]), argument) for argument in args]


def _upgraded_yaml(content: str) -> str:
    """``content``, untouched where it holds nothing old or is not YAML: its errors are then the parser's to report."""
    try:
        written = get_loader("yaml")(content)
    except yaml.YAMLError:
        return content
    today = upgraded(written)
    return content if today == written else yaml.safe_dump(today, sort_keys=False)
