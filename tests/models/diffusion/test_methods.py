"""Methods on a text-to-image model: every one trains, accumulation changes nothing, and what is not possible raises."""

import pytest
import torch

from tests import kit
from tests.canvas import METHODS, ON_RANKS, OPTIONS, canvas, on_ranks, trained, unet
from unlearn_pl.attribution import SalUn as Salience
from unlearn_pl.attribution import write_mask
from unlearn_pl.combiners import MinNorm, Scalarization, UPGrad
from unlearn_pl.masks import MaskFile, TrainableParameters
from unlearn_pl.modules import NPO, FineTuning, SalUn, UnlearningModule
from unlearn_pl.objectives import DenoisingLoss, MisalignLoss, PredictionConsistencyLoss
from unlearn_pl.references import CachedReference, FrozenReference
from unlearn_pl.types import parse_needs


@pytest.mark.parametrize("name", METHODS)
def test_accumulation_changes_nothing(name):
    whole, parts = trained(name), trained(name, micro_batch_size=2)
    start = {key: value.double() for key, value in unet().build().state_dict().items()}
    assert any(not torch.equal(whole[key], start[key]) for key in start)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-5, atol=1e-9)


@pytest.mark.distributed
def test_two_ranks_train_as_one(pool):
    alone = {name: trained(name) for name in ON_RANKS}
    for of_rank in pool.run(on_ranks):
        for name, weights in of_rank.items():
            for key, value in weights.items():
                torch.testing.assert_close(value, alone[name][key], rtol=1e-5, atol=1e-9)


def test_esd_moves_cross_attention_alone():
    start = {key: value.double() for key, value in unet().build().state_dict().items()}
    moved = {key for key, value in trained("esd").items() if not torch.equal(value, start[key])}
    assert moved
    assert all("attn2" in key for key in moved)


@pytest.mark.parametrize("combiner", [Scalarization, MinNorm, UPGrad])
def test_noise_is_a_function_of_the_example_and_the_step(combiner):
    """Against the reference, the loss is 0 at the start: both saw the same noise, timestep and dropped prompts."""
    objectives = {"forget": MisalignLoss(), "retain": PredictionConsistencyLoss()}
    module = UnlearningModule(unet(prompt_dropout=0.5), objectives, combiner(), FrozenReference(), **OPTIONS)
    kit.trainer(max_steps=1).fit(module, canvas(micro_batch_size=4, splits=["retain"]))
    forget, retain = module.descent.losses.tolist()
    assert retain < 1e-10 < 1e-4 < forget


def test_another_step_draws_other_noise():
    spec, data = unet(), canvas(micro_batch_size=4, splits=["retain"])
    data.setup("fit")
    model = spec.build().eval()
    views = [spec.forward(model, window["forget"][0], frozenset()) for window, _, _ in data.train_dataloader()]
    assert len(views) == 2
    assert not torch.equal(views[0].target, views[1].target)
    again = [spec.forward(model, window["forget"][0], frozenset()) for window, _, _ in data.train_dataloader()]
    assert torch.equal(again[0].target, views[0].target)
    assert torch.equal(again[0].timestep, views[0].timestep)


def test_dropped_prompts_are_those_of_the_empty_one():
    spec, data = unet(prompt_dropout=1.0), canvas(micro_batch_size=4, splits=["retain"])
    data.setup("fit")
    window, _, _ = next(iter(data.train_dataloader()))
    model = spec.build().eval()
    view = spec.forward(model, window["forget"][0], parse_needs(["null_prediction"]))
    torch.testing.assert_close(view.prediction, view.null_prediction)
    assert not view.null_prediction.requires_grad


def test_salience_keeps_the_weights_with_the_largest_gradients(tmp_path):
    """The mask of `unlearn-pl attribute` against gradients computed here, and what it freezes is bit-identical."""
    path = tmp_path / "salun.mask"
    measured, data = (canvas(splits=["retain"], batch_size=12, micro_batch_size=6) for _ in range(2))
    # One step is all of the forget set.
    write_mask(path, Salience(0.3, include=["attn2"]), SalUn(unet(), **OPTIONS), measured, kit.trainer(max_epochs=1))
    spec = unet()
    model = spec.build()
    data.setup("fit")
    window, _, _ = next(iter(data.train_dataloader()))
    for batch in window["forget"]:
        (DenoisingLoss()(spec.forward(model, batch, frozenset())) * len(batch["index"]) / 12).backward()
    names = [name for name, _ in model.named_parameters() if "attn2" in name]
    gradients = {name: parameter.grad.abs() for name, parameter in model.named_parameters() if name in names}
    ranked = torch.cat([gradients[name].flatten() for name in names]).sort(descending=True).values
    kept = round(0.3 * len(ranked))
    limit = (ranked[kept - 1] + ranked[kept]) / 2

    module = SalUn(unet(), mask=MaskFile(str(path)), **OPTIONS)
    kit.trainer(max_steps=3).fit(module, canvas(micro_batch_size=8, splits=["retain"]))
    start = dict(unet().build().named_parameters())
    moved = 0
    for name, parameter in module.model.named_parameters():
        changed = parameter != start[name]
        wanted = gradients[name] > limit if name in names else torch.zeros_like(changed)
        assert not bool((changed & ~wanted).any()), name
        moved += int(changed.sum())
    assert 0.9 * kept < moved <= kept


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NPO(unet(), **OPTIONS), "Objective 'forget' needs .*'logps'|'ref_logps'"),
        (
            lambda: UnlearningModule(
                unet(), {"retain": PredictionConsistencyLoss()}, Scalarization(), CachedReference(), **OPTIONS
            ),
            "CachedReference keeps log-probabilities only. Use FrozenReference",
        ),
        (lambda: FineTuning(unet(), mask=TrainableParameters(["attn9"]), **OPTIONS), "attn9"),
    ],
)
def test_what_is_not_possible_raises(make, message):
    with pytest.raises(ValueError, match=message):
        kit.trainer(max_steps=1).fit(make(), canvas(micro_batch_size=8, splits=["retain"]))


def test_a_batch_without_seeds_or_pseudo_prompts_raises():
    spec = unet()
    batch = {"image": torch.zeros(1, 3, 8, 8), "prompt": ["0"], "index": torch.zeros(1, dtype=torch.int64)}
    with pytest.raises(ValueError, match=r"has no \['seeds'\]"):
        spec.forward(spec.build(), batch, frozenset())
    data = canvas(forget=None, micro_batch_size=8, streams=["train"], splits=["retain"])
    with pytest.raises(ValueError, match=r"has no \['pseudo_prompt'\]"):
        kit.trainer(max_steps=1).fit(
            UnlearningModule(unet(), {"forget": MisalignLoss(stream="train")}, Scalarization(), **OPTIONS), data
        )


def test_words_and_sizes_that_the_model_does_not_have_raise():
    spec = unet()
    model = spec.build().eval()
    with pytest.raises(ValueError, match="has the word 'dog'; accepted:"):
        spec.sample(model, ["A dog in crimson style."], torch.tensor([1]))
    with pytest.raises(ValueError, match="has 5 words; accepted: up to 4"):
        spec.sample(model, ["0 1 2 3 4"], torch.tensor([1]))
    with pytest.raises(ValueError, match=r"The images are \[3, 4, 4\].*accepted: images that make \[3, 8, 8\]"):
        spec.forward(
            model,
            {"image": torch.zeros(1, 3, 4, 4), "prompt": ["0"], "index": torch.zeros(1), "seeds": torch.ones(1).long()},
            frozenset(),
        )
    with pytest.raises(ValueError, match="image_size=7 and width=8"):
        unet(image_size=7)
    with pytest.raises(ValueError, match="prompt_dropout=2"):
        unet(prompt_dropout=2)


def test_samples_depend_on_prompt_and_seed_alone():
    spec = unet(sampler=None)
    model = spec.build().eval()
    prompts = ["0 photo", "1 crimson", "0 photo"]
    images = spec.sample(model, prompts, torch.tensor([188, 188, 288]))
    assert images.shape == (3, 3, 8, 8)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    torch.testing.assert_close(images[2:], spec.sample(model, prompts[2:], torch.tensor([288])), rtol=0, atol=1e-3)
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_an_export_of_a_tiny_model_is_loaded_again(tmp_path, monkeypatch):
    from unlearn_pl.callbacks import SavePretrained
    from unlearn_pl.callbacks import save_pretrained as module

    def exported():
        save = SavePretrained(str(tmp_path / "hf"))
        data = canvas(micro_batch_size=8, splits=["retain"])
        kit.trainer(max_steps=1, callbacks=[save]).fit(SalUn(unet(), **OPTIONS), data)
        return save.reload

    assert exported().agrees

    def other_weights(model, *arguments, **options):
        save_pretrained(unet(seed=5).build(), *arguments, **options)

    save_pretrained = module.save_pretrained
    monkeypatch.setattr(module, "save_pretrained", other_weights)
    with pytest.warns(UserWarning, match="does NOT reload to the prediction of the trained model"):
        assert exported().agrees is False
