"""The L1 penalty: its step by hand, its schedule, what it leaves alone, and that a resumed run goes on with it."""

import functools

import lightning.pytorch as pl
import pytest
import torch

from tests import kit
from tests.distributed import sparsity_cases
from tests.distributed.sparsity_cases import fitted
from tests.pictures import classifier, pictures
from unlearn_pl.callbacks import L1Sparse
from unlearn_pl.callbacks.sparsity.l1_sparse import amplification
from unlearn_pl.masks import ElementMask, PrunedWeights, TrainableParameters
from unlearn_pl.modules import FineTuning, PretrainedModule
from unlearn_pl.optim import Constant

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]
SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def weights(module):
    return {name: p.detach().clone() for name, p in module.model.named_parameters()}


def test_a_proximal_step_by_hand():
    module, _ = fitted(L1Sparse(weight=0.5), max_steps=1, optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    plain, _ = fitted(max_steps=1, optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    free = weights(plain)
    for name, value in weights(module).items():
        if "weight" in name:
            expected = free[name].sign() * (free[name].abs() - 0.1 * 0.5).clamp(min=0)
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)
            assert bool((value == 0).any())
        else:
            assert torch.equal(value, free[name])  # biases


def test_momentum_multiplies_the_proximal_step_as_it_does_a_subgradient():
    assert amplification({"lr": 1.0, "momentum": 0.9, "dampening": 0.0}) == pytest.approx(10)
    assert amplification({"momentum": 0.9, "dampening": 0.9}) == pytest.approx(1)
    assert amplification({"momentum": 0.0}) == amplification({"betas": (0.9, 0.999)}) == 1
    # A constant gradient moves a weight by as much in the long run.
    weight = torch.nn.Parameter(torch.tensor(1000.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    for _ in range(200):
        before = weight.item()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert before - weight.item() == pytest.approx(0.1 * amplification(optimizer.param_groups[0]), rel=1e-6)


def test_the_subgradient_is_added_after_the_combination():
    module, _ = fitted(L1Sparse(weight=0.02, how="subgradient"), max_steps=1, optimizer=SGD)
    plain, start = fitted(max_steps=1, optimizer=SGD)[0], classifier().build()
    free = weights(plain)
    for name, value in weights(module).items():
        sign = dict(start.named_parameters())[name].sign() if "weight" in name else 0
        torch.testing.assert_close(value, free[name] - 0.1 * 0.02 * sign, rtol=1e-6, atol=1e-8)


def test_the_penalty_falls_to_its_final_share():
    module, penalty = fitted(L1Sparse(weight=1.0, final_share=0.25), max_steps=4, lr=0.0)
    assert [penalty.strength(step) for step in range(5)] == pytest.approx([1, 0.8125, 0.625, 0.4375, 0.25])
    constant = fitted(L1Sparse(weight=1.0, final_share=1.0), max_steps=4, lr=0.0)[1]
    assert constant.strength(0) == constant.strength(3) == 1
    start = classifier().build()
    assert torch.equal(weights(module)["layers.0.weight"], start.layers[0].weight)  # at a learning rate of 0


def test_zeros_grow_with_the_strength_and_the_subgradient_leaves_none():
    shares = [fitted(L1Sparse(weight=weight), max_steps=20)[1].share for weight in (0.003, 0.01, 0.03, 0.1)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    assert fitted(L1Sparse(weight=0.03, how="subgradient"), max_steps=20)[1].share == 0


def test_relative_to_the_original_weights_the_change_is_sparse():
    module, penalty = fitted(L1Sparse(weight=0.05, relative_to="original"), max_steps=20)
    start, after = classifier().build(), weights(module)
    moved = [after[name] != p for name, p in start.named_parameters() if "weight" in name]
    share = 1 - sum(int(m.sum()) for m in moved) / sum(m.numel() for m in moved)
    assert penalty.share == pytest.approx(share)
    assert 0.05 < share < 1
    assert not any(bool((value == 0).any()) for value in after.values())


@pytest.mark.parametrize("relative_to", ["zero", "original"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, relative_to):
    make = functools.partial(L1Sparse, weight=0.05, relative_to=relative_to)
    whole, penalty = fitted(make(), max_steps=8, optimizer=SGD)

    stopped = kit.trainer(max_steps=8, callbacks=[make(), StopAfter(3)], default_root_dir=tmp_path)
    stopped.fit(sparsity_cases.module(SGD), pictures())
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    again, resumed = make(), sparsity_cases.module(SGD)
    kit.trainer(max_steps=8, callbacks=[again], default_root_dir=tmp_path).fit(
        resumed, pictures(), ckpt_path=tmp_path / "half.ckpt"
    )
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=0, atol=1e-7)
    assert again.share == pytest.approx(penalty.share)
    assert again.share > 0
    torch.load(tmp_path / "half.ckpt", weights_only=True)


class StopAfter(pl.Callback):
    """Ends training after some steps, as a signal would."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step >= self.steps


def test_a_checkpoint_without_the_original_weights_is_named(tmp_path):
    trainer = kit.trainer(max_steps=1)
    trainer.fit(sparsity_cases.module(SGD), pictures())
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    longer = kit.trainer(max_steps=2, callbacks=[L1Sparse(relative_to="original")])
    with pytest.raises(ValueError, match="does not hold the original weights"):
        longer.fit(sparsity_cases.module(SGD), pictures(), ckpt_path=tmp_path / "plain.ckpt")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (TrainableParameters(["layers.2"]), r"TrainableParameters keeps weights fixed .*layers\.0\.weight"),
        (ElementMask({"layers.0.weight": torch.zeros(16, 36, dtype=torch.bool)}), "ElementMask keeps weights fixed"),
    ],
)
def test_a_mask_that_freezes_what_is_shrunk_is_named(mask, message):
    with pytest.raises(ValueError, match=message):
        fitted(L1Sparse(), mask=mask)
    fitted(L1Sparse(include=["layers.2"]), mask=mask)


def test_pruned_weights_may_be_shrunk_further():
    module, penalty = fitted(L1Sparse(weight=0.5), mask=PrunedWeights(0.5), max_steps=5)
    assert penalty.share > 0.5
    assert penalty.share == pytest.approx(
        sum(int((v == 0).sum()) for n, v in weights(module).items() if "weight" in n) / (36 * 16 + 16 * 3)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": 0.0}, "weight=0.0; accepted: a positive number"),
        ({"final_share": 1.1}, r"final_share=1.1; accepted: a share of the penalty in \[0, 1\]"),
        ({"how": "prox"}, "how is 'prox'; accepted: proximal, subgradient"),
        ({"relative_to": "one"}, "relative_to is 'one'; accepted: zero, original"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        L1Sparse(**arguments)


def test_what_cannot_be_penalized_is_named():
    with pytest.raises(ValueError, match="no parameter's name matches 'conv'"):
        fitted(L1Sparse(include=["conv"]))
    with pytest.raises(ValueError, match="leave L1Sparse no trained weights"):
        fitted(L1Sparse(exclude=["layers"]))
    with pytest.raises(ValueError, match="needs an UnlearningModule"):
        L1Sparse().setup(kit.trainer(), PretrainedModule(classifier()), "fit")


def test_biases_norms_and_embeddings_of_language_models_are_left_alone():
    penalty = L1Sparse(weight=1.0)
    module = FineTuning(kit.model(), optimizer=SGD, schedule=Constant())
    kit.trainer(max_steps=1, callbacks=[penalty]).fit(module, kit.Questions(batch_size=4, micro_batch_size=4))
    zeros = {name for name, p in module.model.named_parameters() if bool((p == 0).any())}
    assert zeros
    assert all("proj" in name for name in zeros)


@pytest.mark.distributed
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_reach_the_zeros_of_one_process(pool, strategy):
    single = sparsity_cases.both(1, "auto")
    for ranks in pool.run(sparsity_cases.both, 2, strategy):
        for name, (share, states) in ranks.items():
            assert share == pytest.approx(single[name][0])
            for key, value in states.items():  # on rank 0
                torch.testing.assert_close(value, single[name][1][key], rtol=0, atol=1e-5)
                assert torch.equal(value == 0, single[name][1][key] == 0)
