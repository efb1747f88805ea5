"""Pseudo words: on the tiny model and in Stable Diffusion's layout, seeded, resumable, and folders are only read."""

import functools

import pytest
import torch

from tests import canvas as cases
from tests.robustness.test_audit import contents
from unlearn_pl.callbacks import CanvasEvaluation
from unlearn_pl.data import ForgetObject, ForgetPair, ForgetStyle, UnlearnCanvasDataModule
from unlearn_pl.models import MLP, ImageClassifier, UNet, save_pretrained
from unlearn_pl.robustness import Audit, ImageSubject, PrefixAttack, TextualInversion, read_outcomes

QUICK = {"count": 4, "steps": 3, "batch_size": 2}


def classifiers() -> CanvasEvaluation:
    return CanvasEvaluation(
        *(
            ImageClassifier(functools.partial(MLP, num_pixels=192, num_classes=classes, hidden_sizes=[4]))
            for classes in (4, 6)
        )
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "audited"
    save_pretrained(cases.unet().build(), folder)
    return str(folder)


def subject(model: str, **options) -> ImageSubject:
    given = {"kind": cases.unet(), "evaluation": classifiers(), "accelerator": "cpu", **options}
    return ImageSubject(model, given.pop("data", None) or cases.canvas(), **given)


@pytest.mark.parametrize(
    ("forget", "first", "prompts"),
    [
        (ForgetStyle("crimson"), "A 0 image in pseudo0 pseudo1 style.", 6),
        (ForgetObject("3"), "A pseudo0 pseudo1 image in photo style.", 4),
        (ForgetPair("crimson", "3"), "A 3 image in pseudo0 pseudo1 style.", 1),
    ],
)
def test_pseudo_words_stand_for_what_is_forgotten(tiny, monkeypatch, forget, first, prompts):
    seen, model = {}, cases.unet().build()
    score = ImageSubject.score

    def kept(self, attacked, rows):
        seen.update({"rows": rows, "model": attacked})
        return score(self, attacked, rows)

    monkeypatch.setattr(ImageSubject, "score", kept)
    attack = TextualInversion(vectors=2, **QUICK)
    given = subject(tiny, data=cases.canvas(forget=forget))
    attack.check(given)
    found = attack.run(given)
    assert list(seen["rows"]) == ["forget"]
    assert seen["rows"]["forget"].prompts[0] == first
    assert len(seen["rows"]["forget"]) == prompts == len(found.rows["forget_accuracy"])
    assert 0 <= found.after["forget_accuracy"] <= 1
    attacked = dict(seen["model"].named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(attacked[name.replace("embedding.", "embedding.embedding.")], parameter), name
    assert (attacked["text_encoder.embedding.change"].abs() > 0.1).any()  # three steps of a tenth


def test_words_lower_the_error_and_depend_on_the_seed_alone(tiny):
    longer = {"count": 4, "steps": 25, "batch_size": 4}
    first, last = (TextualInversion(**{**longer, "steps": steps}).run(subject(tiny)).after["loss"] for steps in (1, 25))
    assert last < first - 0.01
    again = TextualInversion(**longer).run(subject(tiny)).after
    assert again["loss"] == last
    assert TextualInversion(**longer).run(subject(tiny, seed=1)).after["loss"] != last


def test_an_audit_repeats_nothing_and_only_reads(tiny, tmp_path):
    before = contents(tiny)
    attacks = [TextualInversion(**QUICK), TextualInversion(cases.canvas(images_per_pair=1, skip_per_pair=9), **QUICK)]
    ran = []
    options = {"retain_model": tiny, "on_start": lambda attack, role: ran.append((attack, role))}
    outcomes = list(Audit(subject(tiny), attacks, tmp_path, **options).run())
    assert len(ran) == len(outcomes) == 6
    assert set(outcomes[0].after) == {
        f"{split}_{score}"
        for split in ("forget", "retain")
        for score in ("accuracy", "other_accuracy", "both_accuracy")
    }
    rows = outcomes[0].rows
    assert [a * b for a, b in zip(rows["forget_accuracy"], rows["forget_other_accuracy"], strict=True)] == rows[
        "forget_both_accuracy"
    ]
    assert outcomes[2].before == {name: value for name, value in outcomes[0].after.items() if name in outcomes[2].after}
    assert outcomes[2].after["loss"] != outcomes[4].after["loss"]  # other images
    assert [outcome.after for outcome in Audit(subject(tiny), attacks, tmp_path, **options).run()] == [
        outcome.after for outcome in outcomes
    ]
    assert len(ran) == 6
    assert contents(tiny) == before
    list(Audit(subject(tiny, data=cases.canvas(images_per_pair=3)), attacks[:1], tmp_path, **options).run())
    assert len(ran) == 10  # other data, another audit
    assert len(read_outcomes(tmp_path / "attacks.json")) == 10


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_stable_diffusion(tmp_path):
    pytest.importorskip("diffusers")
    from tests.diffusion_folder import make_folder, spec

    folder = make_folder(tmp_path)
    before = contents(folder)
    given = subject(str(folder), kind=spec("anywhere"))
    assert given.spec.name == str(folder)
    assert isinstance(subject(str(folder), kind=None).spec, UNet)
    given.check()
    attack = TextualInversion(count=2, vectors=2, steps=3, batch_size=2)
    found = attack.run(given).after
    start = TextualInversion(count=2, vectors=2, steps=1, batch_size=2).run(given).after
    assert 0 <= found["forget_accuracy"] <= 1
    assert found["loss"] != start["loss"]
    assert contents(folder) == before
    model = spec(folder).build()
    embedding = model.text_encoder.add_words(["pseudo0"], seed=0)
    states = model.text_encoder(["a pseudo0 b", "a b"])
    gradient = torch.autograd.grad(states[0].sum(), embedding.change, retain_graph=True)[0]
    assert gradient.abs().sum() > 0
    assert not torch.autograd.grad(states[1].sum(), embedding.change, allow_unused=True)[0].any()
    torch.testing.assert_close(states[1], spec(folder).build().text_encoder(["a b"])[0])
    with pytest.raises(ValueError, match="'pseudo0' is a word of the model already"):
        model.text_encoder.add_words(["pseudo0"], seed=0)


def test_what_is_not_possible_raises(tiny, tmp_path):
    def refused(message, given, attack=None):
        attack = attack or TextualInversion(**QUICK)
        with pytest.raises(ValueError, match=message):
            next(Audit(given, [attack], tmp_path / "out").run())

    refused(r"There is no text-to-image model", subject(str(tmp_path)))
    refused("does not say of what kind", subject(tiny, kind=None))
    refused("evaluation is None; accepted for images: CanvasEvaluation", subject(tiny, evaluation=None))
    refused("The data says nothing that was to be forgotten", subject(tiny, data=cases.canvas(forget=None)))
    refused("no split 'holdout' of prompts; accepted are forget, retain", subject(tiny, forget_split="holdout"))
    refused("PrefixAttack.* attacks a Subject, and .*is a ImageSubject", subject(tiny), PrefixAttack())
    refused("without the style that", subject(tiny, data=cases.canvas(prompt="A {object}.")))
    folder = tmp_path / "others" / "Seed_Images" / "dog"
    folder.mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (8, 8)).save(folder / "1.jpg")
    other = UnlearnCanvasDataModule(str(tmp_path / "others"), size=None)
    refused("images has the styles .*'Seed_Images'", subject(tiny), TextualInversion(other, **QUICK))
    with pytest.raises(ValueError, match="vectors=0"):
        TextualInversion(vectors=0)
    with pytest.raises(ValueError, match="has 5 words; accepted: up to 4"):
        TextualInversion(**{**QUICK, "vectors": 4}).run(subject(tiny))
