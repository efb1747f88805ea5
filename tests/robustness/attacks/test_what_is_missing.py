"""Every attack with its default options on data that lack something: an error of a line before a model is loaded."""

import inspect
from contextlib import suppress

import pytest

import unlearn_pl.robustness as robustness
from tests import kit
from tests.robustness.subjects import make_folder, subject
from unlearn_pl.data import Passage
from unlearn_pl.models import CausalLM
from unlearn_pl.robustness import Attack, Audit, LinearProbe, LogitLens, Subject

ATTACKS = {
    name: found
    for name, found in vars(robustness).items()
    if isinstance(found, type)
    and issubclass(found, Attack)
    and not inspect.isabstract(found)
    and found.subjects is Subject
}
"""Those on language models; Audit tells which kind of model another one is for."""


class Given(kit.Questions):
    """Splits that a test chooses."""

    def __init__(self, **splits) -> None:
        super().__init__()
        self.given = splits

    def load_splits(self):
        return self.given


@pytest.fixture
def no_model(monkeypatch):
    def build(*args):
        raise AssertionError("A model was loaded.")

    monkeypatch.setattr(CausalLM, "build", build)


QUESTIONS = kit.rows("Forget", 1)
DATA = {
    "one row each": ({"forget": QUESTIONS, "retain": kit.rows("Retain", 1)}, "retain"),
    "no retain split": ({"forget": kit.rows("Forget", 6)}, None),
    "texts": ({"forget": [Passage("The mill of Tarn burned.")], "retain": [Passage("The forge stands.")]}, "retain"),
}
REFUSED = {
    "one row each": {"LinearProbe", "SoftPrompt", "FewShotPrompts", "RelearningSweep", "Relearning", "ViewAttack"},
    "no retain split": {"LinearProbe", "DirectionAblation", "FewShotPrompts", "RelearningSweep", "BoundedRelearning"},
    "texts": {"FewShotPrompts", "ReversedQuestions", "MultiHopQuestions", "SampledAnswers", "InContextRelearning"},
}


@pytest.mark.parametrize("lacking", DATA)
@pytest.mark.parametrize("name", ATTACKS)
def test_what_an_attack_cannot_use_is_a_value_error(folder, no_model, name, lacking):
    splits, retain = DATA[lacking]
    given, attack = subject(folder, data=Given(**splits), retain_split=retain), ATTACKS[name]()
    if name in REFUSED[lacking]:
        with pytest.raises(ValueError, match=r"\w+ .*\d|needs|none|Accepted"):
            attack.check(given)
    else:
        with suppress(ValueError):
            attack.check(given)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_split_without_rows_is_named(folder, tmp_path, no_model, name):
    audit = Audit(subject(folder, data=Given(forget=[], retain=[])), [ATTACKS[name]()], tmp_path)
    with pytest.raises(ValueError, match="The split 'forget' is empty"):
        audit.check()


@pytest.mark.parametrize("attack", [LogitLens([2]), LinearProbe([2])])
def test_a_layer_that_the_retain_model_lacks_is_named_before_the_first_attack(folder, tmp_path, no_model, attack):
    deep = make_folder(tmp_path / "deep", num_layers=2)
    with pytest.raises(ValueError, match=r"has 1 layers\. .* models of different depth need None"):
        Audit(subject(deep), [attack], tmp_path / "out", retain_model=folder).check()
