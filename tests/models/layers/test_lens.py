"""Readouts and lenses of real architectures, and their training."""

import pytest
import torch

from tests import kit
from tests.families import make
from unlearn_pl.models import decoder_layers
from unlearn_pl.models.layers.lens import read_lens, write_lens
from unlearn_pl.models.layers.lens_training import train_lens
from unlearn_pl.models.layers.readout import readout_of
from unlearn_pl.models.layers.states import states_in

IDS = torch.tensor([[5, 9, 41, 3, 8]])


def batches():
    rows = torch.randint(3, 300, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(rows)
    mask[1, 6:] = 0
    labels = rows.masked_fill((torch.arange(9) < 3) | (mask == 0), -100)
    batch = {"input_ids": rows, "attention_mask": mask, "labels": labels, "index": torch.arange(4)}
    return [{name: part[:2] for name, part in batch.items()}, {name: part[2:] for name, part in batch.items()}]


@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon", "phi3", "mamba"])
def test_the_readout_makes_the_models_own_logits(family):
    model, seen = make(family, 50), []
    for name, parameter in model.named_parameters():
        if "norm" in name or "ln_f" in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    decoder_layers(model)[-1].register_forward_hook(lambda module, given, output: seen.append(states_in(output)))
    readout = readout_of(model)
    assert readout.centered == (family in ("gpt2", "falcon"))
    with torch.no_grad():
        logits = model(IDS).logits
    torch.testing.assert_close(readout.logits(seen[-1]), logits, rtol=1e-4, atol=1e-4)


def test_logits_that_are_capped_are_refused():
    import transformers

    config = transformers.Gemma2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        final_logit_softcapping=0.5,
    )
    with pytest.raises(ValueError, match="Gemma2ForCausalLM are no linear function"):
        readout_of(transformers.Gemma2ForCausalLM(config))
    config.final_logit_softcapping = None
    assert readout_of(transformers.Gemma2ForCausalLM(config)).head.shape == (50, 32)


def test_training_begins_at_the_logit_lens_and_changes_no_model():
    model = kit.model()
    before = [p.detach().clone() for p in model.parameters()]
    lens, losses = train_lens(model, batches(), epochs=3, learning_rate=1e-2)
    assert all(map(torch.equal, before, model.parameters()))
    assert model.training
    assert list(lens.maps) == list(losses) == [1]
    with torch.no_grad():
        direct, count = 0.0, 0
        for batch in batches():
            states = model.eval()(
                batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
            ).hidden_states[1]
            logps = model.lm_head(model.model.norm(states)).log_softmax(-1)
            for b, t in (batch["labels"] != -100).nonzero().tolist():
                direct -= logps[b, t - 1, batch["labels"][b, t]].item()
                count += 1
    assert losses[1][0] == pytest.approx(direct / count, rel=1e-5)
    assert losses[1][-1] < losses[1][1] < losses[1][0] * 1.01
    again, _ = train_lens(model, batches(), epochs=3, learning_rate=1e-2)
    assert all(map(torch.equal, lens.maps[1], again.maps[1]))


def test_files_keep_every_bit(tmp_path):
    lens, _ = train_lens(kit.model(), batches(), epochs=1)
    write_lens(tmp_path / "lens.safetensors", lens, "0" * 64, {"epochs": 1})
    found = read_lens(tmp_path / "lens.safetensors")
    states = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.logits(1, states), lens.logits(1, states))


@pytest.mark.parametrize("layers", [[], [0], [2], [1, 1]])
def test_layers_without_a_lens_are_refused(layers):
    with pytest.raises(ValueError, match="accepted: layers from 1 to 1"):
        train_lens(kit.model(), batches(), layers)


def test_a_model_of_one_layer_has_none():
    from unlearn_pl.models import tiny_llama

    with pytest.raises(ValueError, match="accepted: layers from 1 to 0"):
        train_lens(tiny_llama(300, hidden_size=16, num_layers=1, num_heads=2), batches())
    with pytest.raises(ValueError, match="epochs=0"):
        train_lens(kit.model(), batches(), epochs=0)
