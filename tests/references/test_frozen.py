import copy

import pytest
import torch

from unlearn_pl.models import stream_forward
from unlearn_pl.references import FrozenReference, ReferenceContext
from unlearn_pl.types import IGNORE_INDEX

NEEDS = frozenset({"ref_logps", "ref_logits", "ref_hidden.1", "logits"})


def make_batch():
    ids = torch.arange(3, 33).reshape(3, 10)
    labels = ids.clone()
    for row, (prompt, length) in enumerate([(2, 10), (4, 7), (1, 9)]):
        labels[row, :prompt] = labels[row, length:] = IGNORE_INDEX
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "index": torch.arange(3)}


def prepared(model, **options):
    reference = FrozenReference(**options)
    reference.prepare(ReferenceContext(model, lambda: copy.deepcopy(model), stream_forward))
    return reference


def perturb(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))


def test_a_model_that_has_not_changed_diverges_by_nothing(tiny_model):
    model = tiny_model(tie=False)
    fields = prepared(model).annotate("forget", make_batch(), NEEDS, model)
    view = stream_forward(model, make_batch(), frozenset({"logits", "hidden.1"}))
    assert torch.equal(fields["ref_logps"], view.logps)
    assert torch.equal(fields["ref_logits"], view.logits)
    assert torch.equal(fields["ref_hidden"][1], view.hidden[1])


def test_the_original_stays_when_the_model_changes(tiny_model):
    model, original = tiny_model(), tiny_model()
    reference = prepared(model)
    perturb(model)
    fields = reference.annotate("forget", make_batch(), NEEDS, model)
    assert torch.equal(fields["ref_logits"], original(make_batch()["input_ids"]).logits[:, :-1])
    assert not torch.allclose(fields["ref_logps"], stream_forward(model, make_batch(), frozenset()).logps)
    assert reference.is_original


def test_nothing_of_it_is_trained_or_carries_gradients(tiny_model):
    model = tiny_model()
    reference = prepared(model)
    fields = reference.annotate("forget", make_batch(), NEEDS, model)
    values = [fields["ref_logps"], fields["ref_logits"], *fields["ref_hidden"].values()]
    assert not any(value.requires_grad for value in values)
    assert not any(p.requires_grad for p in reference._frozen.parameters())
    assert not any(module.training for module in reference._frozen.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (frozenset(), set()),
        (frozenset({"logits", "hidden.1"}), set()),
        (frozenset({"ref_logps", "logits"}), {"ref_logps"}),
        (frozenset({"ref_hidden.0", "ref_hidden.2"}), {"ref_hidden"}),
        (frozenset({"ref_logits"}), {"ref_logits"}),
    ],
)
def test_only_what_is_needed_is_given(tiny_model, needs, expected):
    model = tiny_model()
    fields = prepared(model).annotate("forget", make_batch(), needs, model)
    assert fields.keys() == expected
    assert fields.get("ref_hidden", {}).keys() <= {0, 2}


def test_another_type_rounds_the_weights_and_nothing_else(tiny_model):
    model = tiny_model()
    reference = prepared(model, dtype="bfloat16")
    assert {p.dtype for p in reference._frozen.parameters()} == {torch.bfloat16}
    assert torch.equal(reference._frozen.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)
    logps = reference.annotate("forget", make_batch(), frozenset({"ref_logps"}), model)["ref_logps"]
    assert logps.dtype == torch.float32
    own = stream_forward(model, make_batch(), frozenset()).logps
    assert 0 < (logps - own).abs().max() < 0.05
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_another_model_is_loaded_and_is_not_the_original(tiny_model, tmp_path):
    other, model = tiny_model(seed=7), tiny_model()
    other.save_pretrained(tmp_path)
    reference = FrozenReference(str(tmp_path))
    reference.prepare(ReferenceContext(model, lambda: pytest.fail("the original is not needed"), stream_forward))
    fields = reference.annotate("retain", make_batch(), frozenset({"ref_logps"}), model)
    assert torch.equal(fields["ref_logps"], stream_forward(other, make_batch(), frozenset()).logps)
    assert not reference.is_original


def test_another_vocabulary_is_refused(tmp_path, tiny_model):
    from unlearn_pl.models import tiny_llama

    tiny_llama(99, hidden_size=16, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"99 tokens and the trained model has \d+"):
        FrozenReference(str(tmp_path)).prepare(ReferenceContext(tiny_model(), tiny_model, stream_forward))


def test_the_copy_follows_the_batch_to_its_device(tiny_model):
    model = tiny_model()
    reference = prepared(model)
    batch = {name: value.to("meta") for name, value in make_batch().items()}
    with torch.no_grad(), pytest.raises((NotImplementedError, RuntimeError)):
        reference.annotate("forget", batch, frozenset({"ref_logps"}), model)
    assert {p.device.type for p in reference._frozen.parameters()} == {"meta"}
