"""A record holds every argument of a component as plain data, or says which one it could not hold."""

import functools

import torch

from unlearn_pl.recording import Recorded, arguments_of, class_path, record, unrecordable


class Leaf(Recorded):
    def __init__(self, size: int = 3, name: str = "a") -> None:
        self.size = size


class Tree(Leaf):
    def __init__(self, leaf: Leaf, *, weights: dict | None = None, **options: int) -> None:
        super().__init__(size=7)


def test_nested_components_become_plain_data():
    tree = Tree(Leaf(2), weights={"a": 1.5}, depth=4)
    expected = {"leaf": {"class_path": class_path(Leaf), "init_args": {"size": 2}}, "weights": {"a": 1.5}, "depth": 4}
    assert record(tree) == {"class_path": class_path(Tree), "init_args": expected}


def test_the_most_derived_constructor_is_recorded():
    assert set(arguments_of(Tree(Leaf()))) == {"leaf"}


def test_partials_and_classes_are_recorded_and_live_objects_are_named():
    plain = record(
        {"optimizer": functools.partial(torch.optim.SGD, lr=0.1), "fn": lambda p: p, "deep": [Leaf(object())]}
    )
    assert plain["optimizer"]["init_args"] == {"lr": 0.1}
    assert unrecordable(plain) == ["fn", "deep.0.size"]


def test_signature_and_errors_of_the_constructor_are_kept():
    import inspect

    import pytest

    assert list(inspect.signature(Leaf).parameters) == ["size", "name"]
    with pytest.raises(TypeError, match="nothing_like_this"):
        Leaf(nothing_like_this=1)
