"""Compiled layers give the same numbers, and go on working with hidden states, several backwards and sharding."""

import shutil

import pytest
import torch

from tests import kit
from unlearn_pl.models import CausalLM, stream_forward
from unlearn_pl.modules import MOLLM

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="torch.compile on a CPU needs gcc"),
    pytest.mark.filterwarnings("ignore"),  # the compiler's own, which would be errors in the middle of its work
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    kit.tokenizer().save_pretrained(path)
    return str(path)


def results(model):
    """Log-probabilities, hidden states, and two gradients from one forward."""
    tokens = torch.randint(3, 200, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[1, 7:] = 0
    labels = tokens.masked_fill(mask == 0, -100)
    batch = {"input_ids": tokens, "attention_mask": mask, "labels": labels, "index": torch.arange(3)}
    view = stream_forward(model, batch, frozenset({"hidden.1"}))
    gradients = []
    for loss, retain in ((view.logps.sum(), True), (view.logps.exp().sum(), False)):
        loss.backward(retain_graph=retain)
        gradients += [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
    return [view.logps.detach(), view.hidden[1].detach(), *gradients]


@pytest.mark.slow
def test_compiled_layers_give_the_same_log_probabilities_states_and_gradients(folder):
    plain, compiled = (CausalLM(folder, compile=compile).build() for compile in (False, True))
    for expected, found in zip(results(plain), results(compiled), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_training_with_compiled_layers_ends_at_the_same_weights(folder):
    ends = []
    for compile in (False, True):
        module = MOLLM(CausalLM(folder, compile=compile), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
        kit.trainer(max_steps=2).fit(module, kit.Questions(batch_size=4, micro_batch_size=4, splits=[]))
        ends.append([p.detach() for p in module.model.parameters()])
    for expected, found in zip(*ends, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
