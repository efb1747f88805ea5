"""Parsers whose configuration files and arguments may use names of earlier versions."""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader
from lightning.pytorch.cli import LightningArgumentParser

from unlearn_pl.upgrading import current_path, upgraded

_FULL_PATH = re.compile(r"(?<![\w./-])unlearn_pl(?:\.\w+){3,}(?![\w./-])")


class UpgradingParser(ArgumentParser):
    """Reads configurations of earlier versions in today's terms; see :func:`~unlearn_pl.upgrading.upgraded`."""

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration, be it the content of a file or given on the command line."""
        return super().parse_string(_upgraded_yaml(content), *args, **kwargs)


class TrainerParser(UpgradingParser, LightningArgumentParser):
    """The same for the commands of Lightning's Trainer."""


def current_arguments(args: Sequence[str]) -> list[str]:
    """``args`` with today's path of every class that is named by its full path."""
    return [_FULL_PATH.sub(lambda found: current_path(found[0]), argument) for argument in args]


def _upgraded_yaml(content: str) -> str:
    """``content``, untouched where it holds nothing old or is not YAML: its errors are then the parser's to report."""
    try:
        written = get_loader("yaml")(content)
    except yaml.YAMLError:
        return content
    today = upgraded(written)
    return content if today == written else yaml.safe_dump(today, sort_keys=False)
