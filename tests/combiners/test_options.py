"""CombinerOptions and the constructor of the base class name the same options, and the command line reaches them."""

import inspect
import typing

import pytest

from unlearn_pl.combiners import CombinerOptions, DualBasis, GramianCombiner
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.recording import record


def test_options_are_the_arguments_of_the_base_class():
    arguments = {
        name: parameter.annotation
        for name, parameter in inspect.signature(GramianCombiner.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert typing.get_type_hints(CombinerOptions) == arguments


def test_options_are_recorded_by_name():
    assert record(DualBasis(False, satisfied=0.1))["init_args"] == {"unit": False, "satisfied": 0.1}


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="norm_flour"):
        DualBasis(norm_flour=0.1)


COMMAND = ["fit", "--data=SyntheticAuthorsDataModule", "--model=GradDiff", "--model.model=m"]


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("BLUR", {"gamma": 0.5}),
        ("DualBasis", {"unit": False}),
        ("DualProj", {}),
        ("FedOSD", {}),
        ("GRU", {"retain_weight": 0.5}),
        ("HAMU", {"forget_share": 0.3}),
        ("MinNorm", {"weight_ema": 0.9}),
        ("NGDiff", {}),
        ("PriorityConstrainedDescent", {"margin": 0.1, "primary": "retain"}),
        ("UPGrad", {}),
    ],
)
def test_the_command_line_knows_every_option(name, argument):
    options = argument | {"normalization": "l2", "norm_decay": 0.5, "satisfied": {"forget": 0.1}}
    flags = [f"--model.combiner.{key}={value}" for key, value in options.items()]
    parsed = trainer_parser().parse_args([*COMMAND, f"--model.combiner={name}", *flags]).fit
    assert parsed.model.init_args.combiner.class_path == f"unlearn_pl.combiners.{name}"
    assert parsed.model.init_args.combiner.init_args.as_dict() == options
