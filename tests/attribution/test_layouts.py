"""Scores of layers that are no ``torch.nn.Linear``: GPT-2's, and the experts of mixtures, one by one."""

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from tests import kit
from tests.families import make
from unlearn_pl.attribution import Magnitude, Measured, Wanda, write_mask
from unlearn_pl.attribution.input_norms import InputNorms
from unlearn_pl.masks import read_mask
from unlearn_pl.models.weight_layout import layer_weights, weight_matrices
from unlearn_pl.modules import MOLLM

MIXTURES = ["mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "granitemoe"]


class Products(TorchFunctionMode):
    """Sums the squared inputs of every product with a parameter, or with a part of one."""

    def __init__(self, model) -> None:
        super().__init__()
        self.parameters = {p.data_ptr(): (name, p) for name, p in model.named_parameters()}
        self.squares: dict[str, torch.Tensor] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (F.linear, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.addmm):
            inputs, weight = args[1:3] if func is torch.addmm else args[:2]
            base = weight if weight._base is None else weight._base
            if base.data_ptr() in self.parameters:
                name, whole = self.parameters[base.data_ptr()]
                part = weight.storage_offset() // (whole.stride(0) or 1) if whole.dim() == 3 else 0
                found = inputs.detach().flatten(0, -2).square().sum(dim=0)
                shape = (whole.shape[0] if whole.dim() == 3 else 1, inputs.shape[-1])
                self.squares.setdefault(name, torch.zeros(shape))[part] += found
        return func(*args, **(kwargs or {}))


def batch():
    ids = torch.arange(3, 33).reshape(2, 15)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    return ids, mask


@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon", "phi3", "mamba", *MIXTURES])
def test_norms_are_those_of_what_every_matrix_multiplies(family):
    model = make(family, 64)
    ids, mask = batch()
    if family in MIXTURES:
        model.set_experts_implementation("eager")
    norms = InputNorms(model)
    with torch.no_grad():
        model(input_ids=ids, attention_mask=mask)
    seen = norms.norms()
    norms.close()

    products = Products(model)
    with torch.no_grad(), products:
        for row, kept in zip(ids, mask.bool(), strict=True):  # one by one, without padding
            model(input_ids=row[kept][None])
    assert len(seen) > 4
    for name, found in seen.items():
        if family != "mamba" or "in_proj" in name:  # whose states see padding
            expected = products.squares[name].sqrt()
            torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=1e-4, atol=1e-5)
            parameter = model.get_parameter(name)
            assert (parameter.detach() * found).shape == parameter.shape


def test_experts_of_transformers_5_0_do_not_say_whether_they_have_a_gate():
    model = make("mixtral", 64)
    seen = InputNorms(model)
    for module in model.modules():
        vars(module).pop("has_gate", None)
    assert sum("experts" in name for name in Wanda(0.25).candidates(model)) == 2 * model.config.num_hidden_layers
    assert InputNorms(model).norms().keys() == seen.norms().keys()


def write(path, attribution, model):
    data = kit.Questions(forget=8, batch_size=8, micro_batch_size=4)
    return write_mask(path, attribution, MOLLM(model.train()), data, kit.trainer(max_epochs=1))


@pytest.mark.parametrize("family", ["gpt2", "mixtral", "gpt_oss"])
def test_a_mask_reaches_all_layers_and_keeps_as_much_of_each_output(tmp_path, family):
    model = make(family, len(kit.tokenizer()))
    path = tmp_path / "mask.safetensors"
    for attribution in (Wanda(0.25), Magnitude(0.25, scope="row", include=[r"(proj|c_attn|c_fc)(\.weight)?$"])):
        header = write(path, attribution, model)
        matrices = weight_matrices(model)
        outside = {name for name in layer_weights(model) if name not in header.kept}
        assert all("router" in name or "gate.weight" in name or name.endswith("bias") for name in outside)
        for name in set(header.kept) & set(layer_weights(model)):
            mask = read_mask(path, name, model.get_parameter(name).shape)
            for matrix in matrices[name].matrices(mask):
                assert set(matrix.sum(dim=1).tolist()) == {round(matrix.shape[1] / 4)}


def test_the_share_is_stated(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path / "mask.safetensors", Wanda(0.25), make("mixtral", len(kit.tokenizer())))
    assert any(
        m.startswith("Wanda scores 9") and "MixtralForCausalLM, without model.layers.0.mlp.gate" in m
        for m in caplog.messages
    )


@pytest.mark.parametrize("family", ["dbrx", "llama4"])
def test_experts_out_of_reach_are_refused_with_the_share(family):
    with pytest.raises(ValueError, match=r"Wanda scores \d+\.\d% of the weights .* reaches 75% or more"):
        Wanda(0.25).choose(make(family, 64))


def test_a_layer_that_was_never_used_has_no_score():
    weight = torch.ones(2, 3)
    assert Wanda(0.5).score(Measured("a", weight)).abs().sum() == 0
