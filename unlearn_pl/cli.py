"""The ``unlearn-pl`` command: the methods of Lightning's Trainer, and the commands of this library."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import unlearn_pl
from unlearn_pl.commands.errors import errors_in_one_line, signals_as_statuses

DEBUG = "--debug"
"""Argument of every command that keeps the traceback of an error."""

TRAINER_COMMANDS = {
    "fit": "Unlearn, or fine-tune.",
    "validate": "Evaluate without generating answers.",
    "test": "Evaluate in full and write results.json.",
    "predict": "Answer the questions of the evaluation splits.",
}
"""Methods of the Trainer, configured in YAML and on the command line."""

COMMANDS = {
    "demo": "Show everything offline on a laptop: train, unlearn, evaluate, report.",
    "attribute": "Score the weights and write a mask of those that may change.",
    "sweep": "Run a recipe with several values and seeds, and show the Pareto front.",
    "compare": "Compare several results.json, with intervals.",
    "report": "Write one page about runs that needs no network.",
    "requests": "Carry out deletion requests one after another, with an audit trail.",
    "doctor": "Say what is installed and within reach, and what a recipe lacks.",
    "recipes": "List the recipes that -c finds by name, or print one.",
    "attack": "Try to recover forgotten answers: relearning, quantization, other prompts.",
    "audit": "Evaluate and attack a model within a time, and give one verdict.",
    "extrapolate": "Forget by weight arithmetic, away from a model trained on the forget set.",
    "corrupt": "Put noise into the weights of an unlearned model, before it is distilled.",
    "redirect": "Forget without training: move questions, by one refit layer, to where unknown ones are.",
    "lens": "Train lenses that read answers in the states of inner layers.",
    "sanitize": "Undo what unlearning did to retained inputs, after any method.",
}
"""Modules of :mod:`unlearn_pl.commands` that have a ``main(args)``."""


def main(args: Sequence[str] | None = None) -> None:
    """Run ``unlearn-pl ARGS``.

    An error that a user can mend, such as a path that does not exist, is one line on standard error and exit status 1;
    with ``--debug`` among the arguments, the exception passes with its traceback.

    Args:
        args: the arguments after ``unlearn-pl``; those of the process by default.
    """
    args = list(sys.argv[1:] if args is None else args)
    debug = DEBUG in args
    args = [arg for arg in args if arg != DEBUG]
    command = args[0] if args else ""
    # Each branch imports what it needs and no more: Lightning alone takes seconds.
    if command in TRAINER_COMMANDS:
        _import_from_working_directory()
        with signals_as_statuses(), errors_in_one_line(debug):
            import_module("unlearn_pl.commands.trainer").UnlearnCLI(args)
    elif command in COMMANDS:
        _import_from_working_directory()
        with signals_as_statuses(), errors_in_one_line(debug):
            import_module(f"unlearn_pl.commands.{command}").main(args[1:])
    elif command == "--version":
        print(f"unlearn-pl {unlearn_pl.__version__}")
        sys.exit(0)
    elif command in ("-h", "--help"):
        print(usage())
        sys.exit(0)
    else:
        similar = get_close_matches(command, [*TRAINER_COMMANDS, *COMMANDS], n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        print(usage() + (f"\n\nerror: {command!r} is not a command{hint}" if command else ""), file=sys.stderr)
        sys.exit(2)


def usage() -> str:
    """The text of ``unlearn-pl --help``."""
    commands = "\n".join(f"  {name:<10} {help_}" for name, help_ in (TRAINER_COMMANDS | COMMANDS).items())
    return f"""usage: unlearn-pl COMMAND [ARGUMENTS]
       unlearn-pl --version

{unlearn_pl.__doc__.strip()}

commands:
{commands}

examples:
  unlearn-pl demo
  unlearn-pl fit -c tofu/mollm --trainer.max_epochs 5    a recipe by name; a YAML file by its path
  unlearn-pl fit -c tofu/mollm --print_config            the configuration that would run
  unlearn-pl test -c tofu/mollm --ckpt_path last
  unlearn-pl fit --help                                  every argument of a command
  unlearn-pl fit -c tofu/mollm --debug                   the traceback of an error
  unlearn-pl fit --model.help MOLLM                      every argument of a class"""


def _import_from_working_directory() -> None:
    """Let YAML files name the user's own classes, as in ``class_path: my_package.MyLoss``."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
