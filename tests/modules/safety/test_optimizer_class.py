"""What makes an optimizer is checked before it is called with the weights."""

import functools
import os
import subprocess

import pytest
import torch
from torch.optim import SGD, Optimizer

from unlearn_pl.modules.safety.optimizer_class import check_optimizer_path, made_optimizer

WEIGHTS = [torch.nn.Parameter(torch.zeros(1))]


def annotated(parameters: object) -> Optimizer:
    return SGD(parameters)


def unclear(parameters):
    return SGD(parameters)


def test_optimizer_classes_and_functions_that_say_so_are_accepted():
    check_optimizer_path(SGD, "torch.optim.SGD")
    check_optimizer_path(annotated, "own.annotated")


@pytest.mark.parametrize("found", [os.system, subprocess.call, subprocess.Popen, torch.nn.Linear, unclear, None, 3])
def test_others_are_not(found):
    with pytest.raises(ValueError, match=r"optimizer is 'a\.b'; accepted: a subclass of torch\.optim\.Optimizer, or"):
        check_optimizer_path(found, "a.b")


@pytest.mark.parametrize("make", [SGD, functools.partial(SGD, lr=0.1), annotated, unclear, lambda w: SGD(w)])
def test_an_optimizer_is_made(make):
    assert isinstance(made_optimizer(make, WEIGHTS), SGD)


@pytest.mark.parametrize("make", [os.system, subprocess.Popen, functools.partial(subprocess.Popen, shell=True)])
def test_what_is_no_optimizer_is_not_called(make):
    with pytest.raises(ValueError, match=r"optimizer is .*accepted: "):
        made_optimizer(make, ["touch ran"])


def test_what_a_function_returns_is_checked():
    with pytest.raises(ValueError, match="optimizer has made a list; accepted: "):
        made_optimizer(lambda weights: [], WEIGHTS)
