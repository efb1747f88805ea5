"""Adapters that begin with low-rank factors where the Fisher information is: against the formulas, and in training."""

import functools
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests import kit
from tests.families import make
from unlearn_pl.attribution import FisherRatio, write_adapters, write_mask
from unlearn_pl.combiners import Scalarization
from unlearn_pl.functional.low_rank import weighted_low_rank
from unlearn_pl.models import AdapterFile, CausalLM, LoRA, QLoRA, save_pretrained
from unlearn_pl.models.adapter_file import read_adapter_header
from unlearn_pl.modules import MOLLM, NPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, InvertedHingeLoss
from unlearn_pl.optim import Constant
from unlearn_pl.recording import record
from unlearn_pl.references import AdapterReference, FrozenReference

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]
OPTIONS = {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-2), "schedule": Constant()}
EPS = 1e-9
RANK = 6


def questions():
    return kit.Questions(batch_size=8, micro_batch_size=4, splits=[])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    kit.tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def file(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapters") / "fila.safetensors"
    module = MOLLM(CausalLM(folder, lora=LoRA(initializer=AdapterFile(str(path)))))  # which is yet to be written
    write_adapters(path, FisherRatio(eps=EPS), RANK, module, questions(), kit.trainer(max_epochs=1))
    return str(path)


def lora(file, r=4, **options):
    return LoRA(r=r, alpha=8, initializer=AdapterFile(file), **options)


def ids():
    return torch.arange(3, 19).view(2, 8)


# ---- the decomposition


def test_the_factors_minimize_the_weighted_error_over_all_matrices_of_their_rank():
    """Against alternating least squares, from several starts."""
    draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight, importance = draw(7, 5), draw(7, 5).square()
    scale = importance.sum(1).sqrt().unsqueeze(-1)

    def error(product):
        return (scale * (weight - product)).norm().item()

    b, a = weighted_low_rank(weight, importance, 2)
    found = error((scale + 1e-5) / scale * (b @ a))  # without the stabilizer
    for _ in range(5):
        other = draw(2, 5)
        for _ in range(500):
            left = torch.linalg.lstsq(other.T, weight.T).solution.T
            other = torch.linalg.lstsq(scale * left, scale * weight).solution
        assert found <= error(left @ other) + 1e-9
    assert found == pytest.approx(error(left @ other), rel=1e-4)
    unweighted_b, unweighted_a = weighted_low_rank(weight, torch.ones(7, 5), 2)
    assert found < error(unweighted_b @ unweighted_a)


def test_a_lower_rank_is_the_beginning_of_a_higher_one_and_no_rank_is_too_high_in_silence():
    weight, importance = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.ones(6, 4)
    (b2, a2), (b4, a4) = (weighted_low_rank(weight, importance, rank) for rank in (2, 4))
    assert torch.equal(b2, b4[:, :2])
    assert torch.equal(a2, a4[:2])
    torch.testing.assert_close(b4 @ a4, weight, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"rank is 5; accepted for a matrix \[6, 4\]: 1 to 4"):
        weighted_low_rank(weight, importance, 5)


# ---- the measurement


def squared_gradients(model, stream):
    """The mean, over the steps of an epoch, of the squared gradient of the token mean."""
    data = kit.Questions(batch_size=8, micro_batch_size=4, splits=[], streams=["forget", "retain"])
    data.setup("fit")
    sums, steps = {}, 0
    for window, _, _ in data.train_dataloader():
        model.zero_grad()
        total, count = 0.0, 0
        for batch in window[stream]:
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
            labels = batch["labels"][:, 1:]
            total = total + F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
            count += (labels != -100).sum()
        (total / count).backward()
        for name, parameter in model.named_parameters():
            sums[name] = sums.get(name, 0) + parameter.grad.square()
        steps += 1
    return {name: total / steps for name, total in sums.items()}


def test_a_file_holds_the_factors_of_the_ratio_of_both_informations(file):
    from safetensors.torch import load_file

    model = kit.model().train()
    forget, retain = (squared_gradients(model, stream) for stream in ("forget", "retain"))
    stored = load_file(file)
    names = {name.rsplit(".", 1)[0] for name in stored}
    assert len(names) == 14  # seven linear layers in each of two, and no head
    for name in names:
        weight = dict(model.named_parameters())[name].detach()
        b, a = weighted_low_rank(weight, forget[name] / (retain[name] + EPS), RANK)
        torch.testing.assert_close(stored[f"{name}.B"] @ stored[f"{name}.A"], b @ a, rtol=1e-3, atol=1e-4)
    assert read_adapter_header(Path(file)).made_by["attribution"]["class_path"].endswith("FisherRatio")


def test_as_a_mask_the_ratio_is_of_squares_too(tmp_path):
    seen = {}

    class Spy(FisherRatio):
        def score(self, parameter):
            seen[parameter.name] = super().score(parameter)
            return seen[parameter.name]

    spy = Spy(0.1, eps=EPS)
    write_mask(tmp_path / "mask.safetensors", spy, MOLLM(kit.model()), questions(), kit.trainer(max_epochs=1))
    forget, retain = (squared_gradients(kit.model().train(), stream) for stream in ("forget", "retain"))
    for name, score in seen.items():
        torch.testing.assert_close(score, forget[name] / (retain[name] + EPS), rtol=1e-3, atol=1e-3)


# ---- the start


def test_the_model_begins_as_the_same_function_on_other_weights(folder, file):
    adapted, original = CausalLM(folder, lora=lora(file)).build().eval(), kit.model().eval()
    torch.testing.assert_close(adapted(ids()).logits, original(ids()).logits, rtol=1e-5, atol=1e-5)
    with adapted.disable_adapter():
        assert (adapted(ids()).logits - original(ids()).logits).abs().max() > 1e-2


def test_the_gradient_of_the_factors_is_that_of_the_weight(folder, file):
    """``dB = s G A^T`` and ``dA = s B^T G`` with the gradient ``G`` of the weight of the model without adapters."""
    adapted, original = CausalLM(folder, lora=lora(file)).build().eval(), kit.model().eval()
    for model in (adapted, original):
        F.cross_entropy(model(ids()).logits[:, :-1].flatten(0, 1), ids()[:, 1:].flatten()).backward()
    scale = 8 / 4
    for name, parameter in original.named_parameters():
        if "proj" not in name:
            continue
        layer = adapted.get_submodule("base_model.model." + name.removesuffix(".weight"))
        b, a = layer.lora_B["default"].weight, layer.lora_A["default"].weight
        torch.testing.assert_close(b.grad, scale * parameter.grad @ a.T, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(a.grad, scale * b.T @ parameter.grad, rtol=1e-3, atol=1e-6)
        assert b.any()


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
def test_matrices_that_are_stored_with_their_inputs_first_are_decomposed_alike(tmp_path):
    original = make("gpt2", len(kit.tokenizer()), hidden_size=32)
    original.save_pretrained(tmp_path / "gpt2")
    kit.tokenizer().save_pretrained(tmp_path / "gpt2")
    path = tmp_path / "fila.safetensors"
    write_adapters(path, FisherRatio(), 4, MOLLM(str(tmp_path / "gpt2")), questions(), kit.trainer(max_steps=1))
    adapted = CausalLM(str(tmp_path / "gpt2"), lora=LoRA(r=4, initializer=AdapterFile(str(path)))).build().eval()
    torch.testing.assert_close(adapted(ids()).logits, original.eval()(ids()).logits, rtol=1e-5, atol=1e-5)
    with adapted.disable_adapter():
        assert (adapted(ids()).logits - original(ids()).logits).abs().max() > 1e-3


# ---- training and export


def loku(folder, file, **options):
    objectives = {"forget": InvertedHingeLoss(), "retain": CausalLMLoss()}
    return UnlearningModule(CausalLM(folder, lora=lora(file)), objectives, Scalarization(), **OPTIONS | options)


@pytest.fixture(scope="module")
def trained(folder, file):
    module = loku(folder, file)
    kit.trainer(max_steps=2).fit(module, questions())
    return module


def test_only_the_adapters_move_and_the_merged_export_is_the_trained_model(folder, file, trained, tmp_path):
    from transformers import AutoModelForCausalLM

    start, model = dict(CausalLM(folder, lora=lora(file)).build().named_parameters()), trained.model
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, start[name]) == ("lora_" not in name)
    save_pretrained(model, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(merged(ids()).logits, model.eval()(ids()).logits, rtol=1e-5, atol=1e-5)
    assert (merged(ids()).logits - kit.model().eval()(ids()).logits).abs().max() > 1e-2
    with pytest.raises(ValueError, match=r"has changed the weights under them.*merge_lora=True"):
        save_pretrained(model, tmp_path / "alone", merge_lora=False)


def test_a_frozen_reference_is_the_original_and_the_adapter_off_is_refused(folder, file):
    module = NPO(CausalLM(folder, lora=lora(file)), reference=FrozenReference(), **OPTIONS)
    kit.trainer(max_steps=1).fit(module, questions())
    assert module.descent.losses[0].item() == pytest.approx(2 / 0.1 * 0.6931472, rel=1e-4)  # equal at the first step
    refused = NPO(CausalLM(folder, lora=lora(file)), reference=AdapterReference(), **OPTIONS)
    with pytest.raises(ValueError, match=r"LoRA\(initializer=\.\.\.\) has changed the weights.*FrozenReference\(\)"):
        kit.trainer(max_steps=1).fit(refused, questions())


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_so_are_the_starts_of_peft_that_change_weights(start):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(kit.model(), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=start))
    module = NPO(model, reference=AdapterReference(), **OPTIONS)
    with pytest.raises(ValueError, match=f"init_lora_weights='{start}' has changed"):
        kit.trainer(max_steps=1).fit(module, questions())


def test_a_checkpoint_comes_back_and_does_not_with_another_file(folder, file, trained, tmp_path):
    trained.trainer.save_checkpoint(tmp_path / "last.ckpt")
    keys = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all("lora_" in name for name in keys)
    loaded = UnlearningModule.load_from_checkpoint(tmp_path / "last.ckpt")
    for mine, theirs in zip(loaded.model.parameters(), trained.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    other = tmp_path / "other.safetensors"
    write_adapters(other, FisherRatio(eps=1.0), RANK, MOLLM(folder), questions(), kit.trainer(max_steps=1))
    with pytest.raises(ValueError, match="factors of another file"):
        kit.trainer(max_steps=3).fit(loku(folder, str(other)), questions(), ckpt_path=tmp_path / "last.ckpt")


# ---- what does not fit


def test_what_does_not_fit_is_refused_by_name(folder, file, tmp_path):
    with pytest.raises(ValueError, match=r"has factors of rank 6, and the adapters have r=8"):
        CausalLM(folder, lora=lora(file, r=8)).build()
    with pytest.raises(ValueError, match=r"There is no file of adapters .*attribute --rank"):
        CausalLM(folder, lora=lora(str(tmp_path / "none"))).build()
    kit.model(seed=5).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="made for other weights"):
        CausalLM(str(tmp_path / "other"), lora=lora(file)).build()
    accepted = LoRA(r=4, initializer=AdapterFile(file, same_weights=False))
    built = CausalLM(str(tmp_path / "other"), lora=accepted).build().eval()
    torch.testing.assert_close(built(ids()).logits, kit.model(seed=5).eval()(ids()).logits, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_decomposed_is_refused_by_name(folder, tmp_path):
    write = functools.partial(write_adapters, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"keep is 0.5, which is for masks"):
        write(FisherRatio(0.5), 2, MOLLM(folder), questions(), kit.trainer(max_steps=1))
    with pytest.raises(ValueError, match=r"rank is 99, but .* has the shape \[32, 32\]"):
        write(FisherRatio(), 99, MOLLM(folder), questions(), kit.trainer(max_steps=1))
    with pytest.raises(ValueError, match="no linear layer to decompose"):
        write(FisherRatio(include=["norm"]), 2, MOLLM(folder), questions(), kit.trainer(max_steps=1))
    with pytest.raises(ValueError, match="has adapters already"):
        write(FisherRatio(), 2, MOLLM(LoRA().apply(kit.model())), questions(), kit.trainer(max_steps=1))
    with pytest.raises(ValueError, match=r"eps is 0; accepted: a positive number"):
        FisherRatio(eps=0)


def test_weights_in_4_bits_cannot_begin_elsewhere(folder, file):
    with pytest.raises(ValueError, match=r"AdapterFile takes .* off the weights.*QLoRA\(\) without one"):
        QLoRA(initializer=AdapterFile(file)).apply(kit.model())


def test_its_arguments_are_recorded(file):
    recorded = record(lora(file))["init_args"]["initializer"]
    assert recorded["class_path"] == "unlearn_pl.models.AdapterFile"
    assert recorded["init_args"]["path"] == file
