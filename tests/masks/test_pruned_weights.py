"""Pruned weights: the smallest become 0 once, and stay 0 whatever the optimizer; survivors train."""

import functools

import pytest
import torch
from torch import nn

from tests import kit
from tests.families import make
from tests.pictures import classifier, pictures
from unlearn_pl.attribution import WAGLE, Wanda, write_mask
from unlearn_pl.masks import PrunedByFile, PrunedWeights
from unlearn_pl.models import save_pretrained
from unlearn_pl.models.weight_layout import layer_weights
from unlearn_pl.modules import MOLLM, FineTuning
from unlearn_pl.optim import Constant

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
]
MATRICES = ("layers.0.weight", "layers.2.weight")


def pruned(model, mask):
    """Name to survivors, by hand; the model is changed."""
    mask.freeze(model)
    return {name: p != 0 for name, p in model.named_parameters() if name in MATRICES}


def test_exactly_the_largest_survive():
    before, model = classifier().build(), classifier().build()
    kept = pruned(model, PrunedWeights(0.9))
    scores = torch.cat([dict(before.named_parameters())[name].abs().flatten() for name in MATRICES])
    count = round(0.1 * scores.numel())
    assert sum(int(k.sum()) for k in kept.values()) == count
    threshold = scores.sort(descending=True).values[count - 1]
    for name, parameter in before.named_parameters():
        after = dict(model.named_parameters())[name]
        if name in MATRICES:
            assert torch.equal(after, torch.where(parameter.abs() >= threshold, parameter, 0))
        else:
            assert torch.equal(after, parameter)


@pytest.mark.parametrize("scope", ["tensor", "row"])
def test_scopes_keep_a_share_of_each(scope):
    kept = pruned(classifier().build(), PrunedWeights(0.75, scope=scope))
    for marks in kept.values():
        shares = marks.double().mean(1) if scope == "row" else marks.double().mean()
        torch.testing.assert_close(shares, torch.full_like(shares, 0.25), atol=0.01, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "mixtral"])
def test_rows_are_those_of_outputs_in_every_layout(family):
    model = make(family, 50)
    PrunedWeights(0.5, scope="row").freeze(model)
    parameters = dict(model.named_parameters())
    for name in layer_weights(model):
        input_dim = 0 if family == "gpt2" else -1
        share = (parameters[name] != 0).double().mean(input_dim)
        torch.testing.assert_close(share, torch.full_like(share, 0.5), atol=0.03, rtol=0)
    assert bool((model.get_output_embeddings().weight != 0).all())


@pytest.mark.parametrize(
    "optimizer",
    [
        functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.5),
        functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
        functools.partial(torch.optim.Adam, lr=1e-2, weight_decay=0.1),
    ],
    ids=["AdamW", "SGD", "Adam"],
)
def test_zeros_stay_exact_and_survivors_train(optimizer):
    module = MOLLM(classifier(), mask=PrunedWeights(0.8), optimizer=optimizer, schedule=Constant())
    kit.trainer(max_steps=5).fit(module, pictures())
    start = classifier().build()
    kept = pruned(start, PrunedWeights(0.8))
    for name, parameter in module.model.named_parameters():
        original = dict(start.named_parameters())[name]
        if name in MATRICES:
            assert torch.equal(parameter == 0, ~kept[name])
            assert bool((parameter != original)[kept[name]].float().mean() > 0.9)
        else:
            assert not torch.equal(parameter, original)


def run(folder=None, ckpt_path=None, steps=4, mask=None):
    module = FineTuning(
        classifier(),
        stream="train",
        mask=mask or PrunedWeights(0.8),
        optimizer=functools.partial(torch.optim.AdamW, lr=0.01),
    )
    trainer = kit.trainer(max_steps=steps, default_root_dir=folder)
    trainer.fit(module, pictures(), ckpt_path=ckpt_path)
    return module, trainer


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole, _ = run(tmp_path)
    module = FineTuning(
        classifier(), stream="train", mask=PrunedWeights(0.8), optimizer=functools.partial(torch.optim.AdamW, lr=0.01)
    )
    trainer = kit.trainer(max_steps=4, limit_train_batches=2, max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, pictures())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = run(tmp_path, ckpt_path=tmp_path / "half.ckpt")
    for mine, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine == 0, theirs == 0)
    with pytest.raises(ValueError, match="trained with the mask"):
        run(tmp_path, ckpt_path=tmp_path / "half.ckpt", mask=PrunedWeights(0.5))

    loaded = FineTuning.load_from_checkpoint(tmp_path / "half.ckpt")
    kit.trainer(limit_val_batches=1).validate(loaded, pictures(), verbose=False)
    for mine, theirs in zip(loaded.model.parameters(), module.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_reference_has_the_weights_before_pruning():
    module = MOLLM(classifier(), mask=PrunedWeights(0.8), optimizer=functools.partial(torch.optim.SGD, lr=0.0))
    kit.trainer(max_steps=1).fit(module, pictures())
    for mine, original in zip(module.reference._frozen.parameters(), classifier().build().parameters(), strict=True):
        assert torch.equal(mine, original)


def test_an_export_holds_the_zeros(tmp_path):
    from transformers import AutoModelForCausalLM

    model = kit.model()
    PrunedWeights(0.5).freeze(model)
    save_pretrained(model, tmp_path)
    loaded = dict(AutoModelForCausalLM.from_pretrained(tmp_path).named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(loaded[name], parameter)
    counts = [(int((loaded[name] == 0).sum()), n) for name, n in layer_weights(model).items()]
    assert sum(zero for zero, _ in counts) == round(0.5 * sum(n for _, n in counts))


@pytest.mark.parametrize(
    ("make_mask", "message"),
    [
        (lambda: PrunedWeights(0.0), r"ratio=0.0; accepted: a share of the weights in \(0, 1\]"),
        (lambda: PrunedWeights(1.5), r"ratio=1.5"),
        (lambda: PrunedWeights(scope="layer"), "scope is 'layer'; accepted: global, tensor, row"),
        (lambda: PrunedWeights(1.0).freeze(classifier().build()), "leaves not a single weight"),
        (lambda: PrunedWeights(include=["conv"]).freeze(classifier().build()), "no parameter's name matches 'conv'"),
        (lambda: PrunedWeights(exclude=[r"layers"]).freeze(classifier().build()), "leave no weights of layers"),
        (lambda: PrunedWeights().freeze(classifier().build().requires_grad_(False)), "would be pruned but are frozen"),
    ],
)
def test_what_cannot_be_pruned_is_named(make_mask, message):
    with pytest.raises(ValueError, match=message):
        make_mask()


def test_files_of_attributions_prune(tmp_path):
    data = kit.Questions(batch_size=8, micro_batch_size=8)
    trainer = lambda: kit.trainer(max_epochs=1, limit_train_batches=2)  # noqa: E731
    wanda = Wanda(keep=0.5, forget_stream="retain")
    write_mask(tmp_path / "wanda", wanda, FineTuning(kit.model()), data, trainer())
    write_mask(tmp_path / "wagle", WAGLE(keep=0.1, include=["proj"]), FineTuning(kit.model()), data, trainer())

    model = kit.model()
    PrunedByFile(str(tmp_path / "wanda")).freeze(model)
    share = (model.model.layers[0].self_attn.q_proj.weight != 0).double().mean(1)
    assert share.tolist() == [0.5] * len(share)

    forgetful, original = kit.model(), dict(kit.model().named_parameters())
    PrunedByFile(str(tmp_path / "wagle"), inverse=True).freeze(forgetful)
    projections = {name: p for name, p in forgetful.named_parameters() if "proj" in name}
    zeros = sum(int((p == 0).sum()) for p in projections.values())
    assert zeros == round(0.1 * sum(p.numel() for p in projections.values()))
    for name, p in forgetful.named_parameters():
        assert torch.equal(p[p != 0], original[name][p != 0])

    with pytest.raises(ValueError, match="was made for other weights"):
        PrunedByFile(str(tmp_path / "wanda")).freeze(kit.model(seed=1))
    with pytest.raises(ValueError, match="There is no mask"):
        PrunedByFile(str(tmp_path / "none")).freeze(kit.model())


def test_kernels_of_convolutions_are_pruned():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    PrunedWeights(0.5, scope="row", include=["0"]).freeze(model)
    assert (model[0].weight != 0).flatten(1).sum(1).tolist() == [9] * 4
    assert bool((model[3].weight != 0).all())
