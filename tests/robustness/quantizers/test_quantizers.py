"""Rounded weights against brute force over the allowed values, and against bitsandbytes where it is installed."""

import importlib.util

import pytest
import torch

from tests.families import make
from tests.robustness.subjects import authors, subject
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.models.weight_layout import layer_weights, weight_matrices
from unlearn_pl.robustness import BitsAndBytes, IntegerRounding, NormalFloat4, Quantization
from unlearn_pl.robustness.quantizers.normal_float4 import LEVELS


def weights(rows: int = 5, columns: int = 37) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    made = torch.randn(rows, columns, generator=generator) * torch.rand(rows, 1, generator=generator)
    made[2] = 0
    return made


def nearest(values: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return allowed[(values[..., None] - allowed).abs().argmin(dim=-1)]


@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, None), (4, 16), (3, 100), (2, 1)])
def test_integers_are_the_nearest_multiples_of_the_scale_of_their_group(bits, group):
    weight = weights()
    rounded = IntegerRounding(bits, group).round(weight)
    largest = 2 ** (bits - 1) - 1
    width = group or weight.shape[1]
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], width):
            part = weight[row, start : start + width]
            grid = torch.arange(-largest, largest + 1) * part.abs().max() / largest
            torch.testing.assert_close(rounded[row, start : start + width], nearest(part, grid))
    assert torch.equal(rounded[2], weight[2])


@pytest.mark.parametrize("block", [16, 64, 1000])
def test_nf4_is_the_nearest_level_in_its_block(block):
    weight = weights()
    rounded = NormalFloat4(block).round(weight).flatten()
    for start in range(0, weight.numel(), block):
        part = weight.flatten()[start : start + block]
        scale = part.abs().max()
        expected = nearest(part / scale, torch.tensor(LEVELS)) * scale if scale else part
        torch.testing.assert_close(rounded[start : start + block], expected)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_nf4_is_that_of_bitsandbytes():
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    weight = weights(8, 64)
    weight[2] = 0.5
    packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4")
    torch.testing.assert_close(NormalFloat4(64).round(weight), dequantize_4bit(packed, state), rtol=1e-4, atol=1e-5)


def share(model, names) -> float:
    weights = layer_weights(model)
    return sum(weights[name] for name in names) / sum(weights.values())


def save(model, folder):
    save_pretrained(model, folder, authors().tokenizer)
    return subject(str(folder))


@pytest.mark.parametrize("family", ["gpt2", "mixtral", "gpt_oss", "llama4", "falcon", "phi3"])
def test_every_matrix_is_rounded_by_its_own_outputs(tmp_path, family):
    given = save(make(family, len(authors().tokenizer)), tmp_path / family)
    before = given.build()
    for quantizer in (IntegerRounding(3), NormalFloat4(32)):
        after = dict(quantizer.build(given).named_parameters())
        rounded = {name for name, matrix in weight_matrices(before).items() if "lm_head" not in name}
        assert share(before, rounded) > 0.95
        for name, weight in before.named_parameters():
            assert torch.equal(weight, after[name]) == (name not in rounded)
        for stack in weight_matrices(before).values():
            pairs = zip(stack.matrices(stack.parameter), stack.matrices(after[stack.name]), strict=True)
            for original, found in pairs if stack.name in rounded else ():
                torch.testing.assert_close(found, quantizer.round(original.contiguous()))


def test_models_whose_experts_are_out_of_reach_are_refused_with_the_share(tmp_path):
    given = save(make("dbrx", len(authors().tokenizer)), tmp_path / "dbrx")
    for quantizer in (IntegerRounding(4), NormalFloat4()):
        with pytest.raises(ValueError, match=r"rounds \d+\.\d% of the weights in the layers of Dbrx\w+, without .*w1"):
            Quantization(quantizer).run(given)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", [4, 8])
def test_bitsandbytes_is_refused_where_it_leaves_the_experts(tmp_path, bits):
    given = save(make("mixtral", len(authors().tokenizer), hidden_size=64), tmp_path / "mixtral")
    with pytest.raises(ValueError, match=r"quantizes [12]\d\.\d% of the weights .* without .*experts\.gate_up_proj"):
        BitsAndBytes(bits).build(given)


def test_only_the_matrices_of_inner_layers_are_rounded(folder):
    given = subject(folder)
    before, after = dict(given.build().named_parameters()), IntegerRounding(3).build(given)
    changed = {name for name, weight in after.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if "proj" in name}
    name = "model.layers.0.mlp.down_proj.weight"
    torch.testing.assert_close(dict(after.named_parameters())[name], IntegerRounding(3).round(before[name]))


def test_the_fewer_bits_the_further_from_the_model(folder):
    given = subject(folder)
    plain = given.score(given.pretrained(), given.splits, answers=False).metrics

    def distance(bits):
        findings = Quantization(IntegerRounding(bits)).run(given)
        return sum(abs(findings.after[name] - plain[name]) for name in plain if name.endswith("probability"))

    assert distance(8) < distance(4) < distance(2)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_bitsandbytes_loads_a_model_that_leaks_about_as_much(tmp_path):
    from tests.robustness.subjects import make_folder

    given = subject(make_folder(tmp_path / "wide", hidden_size=64))
    plain = given.score(given.pretrained(), given.splits, answers=False).metrics
    found = Quantization(BitsAndBytes(8)).run(given).after
    assert found["forget_probability"] != plain["forget_probability"]
    assert found["forget_probability"] == pytest.approx(plain["forget_probability"], rel=0.05)


def test_a_missing_backend_is_named(folder, monkeypatch):
    monkeypatch.setattr("unlearn_pl.robustness.quantizers.bits_and_bytes.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"bitsandbytes is not installed.*IntegerRounding"):
        Quantization(BitsAndBytes()).check(subject(folder))


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: IntegerRounding(1), "bits=1"),
        (lambda: IntegerRounding(8, 0), "group_size=0"),
        (lambda: NormalFloat4(0), "block_size=0"),
        (lambda: BitsAndBytes(3), "bits=3"),
    ],
)
def test_impossible_sizes_are_refused(construct, message):
    with pytest.raises(ValueError, match=message):
        construct()


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("quantizer", [IntegerRounding(3, embeddings=True), NormalFloat4(16, embeddings=True)])
def test_embeddings_and_head_are_rounded_on_demand_and_once(tmp_path, tie, quantizer):
    given = save(tiny_llama(len(authors().tokenizer), 16, 1, 2, tie=tie), tmp_path / "model")
    before, after = given.build(), quantizer.build(given)
    names = {"model.embed_tokens.weight"} | (set() if tie else {"lm_head.weight"})
    for name, weight in after.named_parameters():
        if weight.dim() == 2:
            torch.testing.assert_close(weight, quantizer.round(dict(before.named_parameters())[name]))
            names.discard(name)
    assert not names
    plain = dict(type(quantizer)().build(given).named_parameters())["model.embed_tokens.weight"]
    assert torch.equal(plain, before.get_input_embeddings().weight)
    assert quantizer.name.endswith(", embeddings")
