"""Generic predictions: lower where further training on the forget set has raised a logit, and nowhere else."""

import copy
import functools

import pytest
import torch

from tests import kit
from tests.references.test_frozen import make_batch, perturb
from unlearn_pl.combiners import Scalarization
from unlearn_pl.models import save_pretrained, stream_forward
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, GenericPredictionLoss, KLDivergenceLoss, NPOLoss
from unlearn_pl.optim import Constant
from unlearn_pl.recording import record
from unlearn_pl.references import ReferenceContext, ReinforcedReference

NEEDS = frozenset({"logits", "ref_logits"})


@pytest.fixture
def models(tiny_model, tokenizer, tmp_path):
    """The original model, the reinforced one, and its folder."""
    original, reinforced = tiny_model(tie=False), tiny_model(tie=False)
    perturb(reinforced)
    save_pretrained(reinforced, tmp_path / "hf", tokenizer)
    return original, reinforced.eval(), str(tmp_path / "hf")


def prepared(model, folder, needs=None, **options):
    reference = ReinforcedReference(folder, **options)
    context = ReferenceContext(model, lambda: copy.deepcopy(model), stream_forward, needs=needs or {})
    reference.prepare(context)
    return reference


def test_only_logits_that_the_forget_set_has_raised_are_lowered(models):
    original, reinforced, folder = models
    fields = prepared(original, folder, alpha=3.0).annotate("forget", make_batch(), NEEDS, original)
    with torch.no_grad():
        v, raised = (m(make_batch()["input_ids"]).logits[:, :-1] for m in (original, reinforced))
    expected = torch.where(raised > v, v - 3.0 * (raised - v), v)
    torch.testing.assert_close(fields["ref_logits"], expected)
    assert not torch.allclose(expected, v)


def test_other_streams_have_the_original_models_logits(models):
    original, _, folder = models
    fields = prepared(original, folder).annotate("retain", make_batch(), NEEDS, original)
    assert torch.equal(fields["ref_logits"], original(make_batch()["input_ids"]).logits[:, :-1])
    both = prepared(original, folder, streams=["forget", "retain"])
    assert not torch.equal(both.annotate("retain", make_batch(), NEEDS, original)["ref_logits"], fields["ref_logits"])


def test_the_loss_has_the_gradient_of_the_cross_entropy_with_generic_labels(models):
    original, _, folder = models
    batch = make_batch()
    view = stream_forward(original, batch, frozenset({"logits"}))
    fields = prepared(original, folder).annotate("forget", batch, NEEDS, original)
    view.ref_logits = fields["ref_logits"]
    (ours,) = torch.autograd.grad(GenericPredictionLoss()(view), view.logits, retain_graph=True)
    labels = torch.softmax(view.ref_logits, -1)
    terms = -(labels * torch.log_softmax(view.logits, -1)).sum(-1)
    (theirs,) = torch.autograd.grad(terms[view.mask].mean(), view.logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
    assert theirs.abs().max() > 1e-4


def test_training_moves_toward_the_generic_predictions(tokenizer, tmp_path):
    original, reinforced = kit.model(), kit.model()
    perturb(reinforced)
    save_pretrained(reinforced, tmp_path / "hf", kit.tokenizer())
    module = UnlearningModule(
        original,
        {"forget": GenericPredictionLoss()},
        combiner=Scalarization(),
        reference=ReinforcedReference(str(tmp_path / "hf")),
        optimizer=functools.partial(torch.optim.AdamW, lr=1e-3),
        schedule=Constant(),
    )
    losses = []
    module.on_train_batch_end = lambda *_: losses.append(module.descent.losses[0].item())
    kit.trainer(max_epochs=60).fit(module, kit.Questions(batch_size=16, micro_batch_size=16))
    assert losses[0] > 1e-3  # not zero at the start: the reference is not the trained model
    assert losses[-1] < 0.5 * losses[0]


def test_objectives_that_need_more_than_logits_are_refused(models):
    original, _, folder = models
    for objective in (NPOLoss(), CausalLMLoss()):
        needs = {"forget": objective.needs}
        if objective.needs & {"ref_logps"}:
            with pytest.raises(ValueError, match=r"'forget' needs ref_logps.*GenericPredictionLoss"):
                prepared(original, folder, needs)
        else:
            prepared(original, folder, needs)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": float("nan")}, {"streams": []}, {"streams": "forget"}])
def test_wrong_arguments_say_what_is_accepted(options):
    with pytest.raises(ValueError, match="a positive alpha, and the names of one stream or more"):
        ReinforcedReference("hf", **options)


def test_another_vocabulary_is_an_error(models, tmp_path):
    original, _, _ = models
    save_pretrained(kit.model(), tmp_path / "other", kit.tokenizer())
    with pytest.raises(ValueError, match="tokens"):
        prepared(original, str(tmp_path / "other"))


def test_what_the_engine_reads_and_records():
    objective = GenericPredictionLoss()
    assert (objective.streams, objective.role, objective.needs) == (("forget",), "forget", KLDivergenceLoss.needs)
    assert not objective.zero_at_reference
    assert not ReinforcedReference("hf").is_original
    assert record(ReinforcedReference("hf", alpha=2.0))["init_args"]["alpha"] == 2.0
