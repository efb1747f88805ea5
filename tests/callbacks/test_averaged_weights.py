"""The mean of the weights along the way: its closed form, who sees it, and resuming."""

import functools

import lightning.pytorch as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import kit
from unlearn_pl.callbacks import AveragedWeights, SavePretrained
from unlearn_pl.gradients import SharpnessAware
from unlearn_pl.modules import NPO, FineTuning, GradDiff

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]
ADAMW = functools.partial(torch.optim.AdamW, lr=3e-3)


class Seen(pl.Callback):
    """Keeps the weights after every optimizer step, and those that validation sees."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, torch.Tensor]] = {}
        self.validated: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.steps[trainer.global_step] = copy(pl_module)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        if not batch_idx and not dataloader_idx:
            self.validated.append(copy(pl_module))


def copy(module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


def mean(seen: Seen, steps) -> dict[str, torch.Tensor]:
    return {name: torch.stack([seen.steps[s][name] for s in steps]).mean(dim=0) for name in seen.steps[max(seen.steps)]}


def fit(module, *callbacks, ckpt_path=None, **options):
    data = kit.Questions(batch_size=4, micro_batch_size=2)
    trainer = kit.trainer(callbacks=list(callbacks), **({"max_epochs": 2} | options))
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


def module(kind=NPO, **options):
    pl.seed_everything(0, verbose=False)
    return kind(kit.model(), optimizer=ADAMW, **options)


def assert_close(left, right, **tolerance) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], **tolerance)


@pytest.mark.parametrize(
    ("start", "every", "counted"), [(0, 1, range(1, 9)), (2, 3, [3, 6]), (7, 5, [8]), (1, 2, [2, 4, 6, 8])]
)
def test_the_model_ends_with_the_mean_of_the_counted_steps(start, every, counted):
    seen, trained = Seen(), module(GradDiff)
    fit(trained, seen, AveragedWeights(start, every))
    assert max(seen.steps) == 8
    assert_close(copy(trained), mean(seen, counted), rtol=1e-5, atol=1e-7)


def test_averaging_changes_nothing_on_the_way():
    plain, averaged = Seen(), Seen()
    fit(module(), plain, limit_val_batches=1.0)
    fit(module(), averaged, AveragedWeights(2, 1), limit_val_batches=1.0)
    for step, weights in plain.steps.items():
        assert_close(averaged.steps[step], weights, rtol=0, atol=0)


def test_validation_sees_the_mean_during_and_after_training(tmp_path):
    seen, averaging, trained = Seen(), AveragedWeights(2, 1), module()
    trainer = fit(trained, seen, averaging, SavePretrained(str(tmp_path / "hf")), limit_val_batches=1.0)
    expected = [mean(seen, [3, 4]), mean(seen, range(3, 9))]
    for found, wanted in zip(seen.validated, expected, strict=True):
        assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    trainer.validate(trained, kit.Questions(), verbose=False)
    assert_close(seen.validated[-1], copy(trained), rtol=0, atol=0)
    assert_close(copy(trained), expected[-1], rtol=1e-5, atol=1e-7)
    exported = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "hf").named_parameters())
    assert_close({f"model.{n}": p.detach() for n, p in exported.items()}, copy(trained), rtol=0, atol=0)


@pytest.mark.parametrize("stop_at", [2, 5, 6])
def test_an_interrupted_run_ends_with_the_same_mean(tmp_path, stop_at):
    whole, first, second = module(), module(), module()
    options = {"max_epochs": 2, "limit_val_batches": 1.0}
    fit(whole, AveragedWeights(3, 2), **options)

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if trainer.global_step == stop_at and not (tmp_path / "stopped.ckpt").exists():
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")

    fit(first, AveragedWeights(3, 2), Save(), **options)
    fit(second, AveragedWeights(3, 2), ckpt_path=tmp_path / "stopped.ckpt", **options)
    assert_close(copy(second), copy(whole), rtol=0, atol=0)


def test_checkpoints_are_evaluated_at_the_mean(tmp_path):
    trained, averaging = module(), AveragedWeights(0, 1)
    fit(trained, averaging).save_checkpoint(tmp_path / "end.ckpt")
    loaded = NPO.load_from_checkpoint(tmp_path / "end.ckpt", model=kit.model(1), optimizer=ADAMW)
    assert_close(copy(loaded), copy(trained), rtol=0, atol=0)
    seen = Seen()
    kit.trainer(callbacks=[AveragedWeights(0, 1), seen], limit_val_batches=1.0).validate(
        module(), kit.Questions(), ckpt_path=tmp_path / "end.ckpt", verbose=False
    )
    assert_close(seen.validated[0], copy(trained), rtol=0, atol=0)


def test_it_goes_with_sharpness_aware_steps_and_tied_weights(tmp_path):
    seen, trained = Seen(), module(gradient=SharpnessAware(0.05))
    assert trained.model.config.tie_word_embeddings
    trainer = fit(trained, seen, AveragedWeights(4, 1))
    assert_close(copy(trained), mean(seen, range(5, 9)), rtol=1e-5, atol=1e-7)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    state = torch.load(tmp_path / "end.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(state["model.lm_head.weight"], state["model.model.embed_tokens.weight"])


def test_weights_of_few_bits_are_averaged_in_fp32():
    seen = Seen()
    trained = FineTuning(kit.model(dtype=torch.bfloat16), optimizer=ADAMW)
    fit(trained, seen, AveragedWeights(0, 1), precision="bf16-true", max_epochs=1)
    assert max(seen.steps) == 6
    for name, found in copy(trained).items():
        exact = torch.stack([seen.steps[step][name].float() for step in range(1, 7)]).mean(dim=0)
        assert (found == exact.bfloat16()).float().mean() > 0.99  # the others are ties, up to fp32 rounding
        torch.testing.assert_close(found.float(), exact, rtol=2**-8, atol=1e-6)


def test_a_run_that_ends_before_the_first_step_that_counts_warns():
    seen, trained = Seen(), module()
    with pytest.warns(UserWarning, match="averaged nothing: training ended after 8 steps, and start_step is 100"):
        fit(trained, seen, AveragedWeights())
    assert_close(copy(trained), seen.steps[8], rtol=0, atol=0)


def test_impossible_numbers_are_refused():
    for options in ({"start_step": -1}, {"every_n_steps": 0}):
        with pytest.raises(ValueError, match="accepted are 0 or more, and 1 or more"):
            AveragedWeights(**options)
