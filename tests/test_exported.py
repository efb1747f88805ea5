"""Cases are found by what a package exports, and classes without defaults are named."""

from abc import ABC, abstractmethod
from types import ModuleType
from typing import Literal

import pytest

from tests.exported import Case, cases


class Base(ABC):
    @abstractmethod
    def value(self): ...


class Flagged(Base):
    def __init__(self, size: int = 1, fast: bool = False, kind: Literal["a", "b", "c"] = "b", **options: int) -> None:
        self.arguments = size, fast, kind

    def value(self): ...


class Demanding(Base):
    def __init__(self, budget: float) -> None:
        self.budget = budget

    def value(self): ...


@pytest.fixture
def package():
    module = ModuleType("package")
    module.Base, module.Flagged, module.Demanding, module.Hidden, module.helper = Base, Flagged, Demanding, Flagged, len
    module.__all__ = ["Base", "Demanding", "Flagged", "helper"]
    return module


def test_every_concrete_class_and_every_choice_is_a_case(package):
    found = list(map(str, cases(package, Base)))
    assert found == ["Demanding()", "Flagged()", "Flagged(fast=True)", "Flagged(kind='a')", "Flagged(kind='c')"]


def test_a_class_without_defaults_is_named(package):
    case, *_ = cases(package, Base)
    with pytest.raises(pytest.fail.Exception, match=r"Demanding\(\) cannot be made: .*'budget'\. Give every argument"):
        case.make()


def test_arguments_that_no_default_would_suit_are_given(package):
    one, other, *_ = cases(package, Base, {Demanding: [{"budget": 1.0}, {"budget": 2.0}]})
    assert (one.make().budget, other.make().budget) == (1.0, 2.0)


def test_mistakes_of_a_constructor_are_not_taken_for_missing_arguments():
    class Broken(Base):
        def __init__(self) -> None:
            self.size = len(None)

        def value(self): ...

    with pytest.raises(TypeError, match="has no len"):
        Case(Broken).make()
