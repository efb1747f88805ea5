"""From a run to a Hugging Face folder and back: the same logits, the same evaluation."""

import functools
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import kit
from unlearn_pl.callbacks import SavePretrained, TOFUEvaluation
from unlearn_pl.models import CausalLM, LoRA
from unlearn_pl.modules import MOLLM, PretrainedModule
from unlearn_pl.optim import Constant
from unlearn_pl.references import AdapterReference

pytestmark = pytest.mark.filterwarnings("ignore:.*(forget_quality|model_utility) is not computed")

OPTIONS = {"optimizer": functools.partial(torch.optim.Adam, lr=1e-2), "schedule": Constant(), "max_new_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    return str(path)


def logits(model) -> torch.Tensor:
    ids = torch.arange(3, 40).reshape(1, -1)
    model.eval()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def questions(**options):
    return kit.Questions(**({"batch_size": 8, "micro_batch_size": 4} | options))


@pytest.mark.parametrize("kind", ["live", "path", "lora", "bf16"])
def test_the_folder_is_the_trained_model(folder, tmp_path, kind):
    model = {"live": kit.model(), "lora": CausalLM(folder, lora=LoRA(r=4))}.get(kind, folder)
    module = MOLLM(model, reference=AdapterReference() if kind == "lora" else None, **OPTIONS)
    precision = "bf16-true" if kind == "bf16" else "32-true"
    out = tmp_path / "hf"
    kit.trainer(max_epochs=1, precision=precision, callbacks=[SavePretrained(str(out))]).fit(module, questions())
    again = AutoModelForCausalLM.from_pretrained(out)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if kind == "lora" else {"rtol": 0, "atol": 0}  # merging rounds
    torch.testing.assert_close(logits(again), logits(module.model), **tolerance)
    assert next(again.parameters()).dtype == next(module.model.parameters()).dtype
    assert not torch.allclose(logits(again).float(), logits(kit.model()), atol=1e-3)


def test_evaluating_the_folder_is_evaluating_the_module(tmp_path):
    module, data = MOLLM(kit.model(), **OPTIONS), questions()
    trained, exported = TOFUEvaluation(output=str(tmp_path / "a.json")), TOFUEvaluation(output=str(tmp_path / "b.json"))
    kit.trainer(max_epochs=1, callbacks=[SavePretrained(str(tmp_path / "hf"))]).fit(module, data)
    kit.trainer(callbacks=[trained]).test(module, data, verbose=False)
    fresh = PretrainedModule(str(tmp_path / "hf"), max_new_tokens=6)
    kit.trainer(callbacks=[exported]).test(fresh, questions(), verbose=False)
    assert exported.results.metrics == trained.results.metrics
    assert exported.results.per_example == trained.results.per_example
    assert exported.results.weights_fingerprint == trained.results.weights_fingerprint
    assert {"forget_rouge", "forget_probability", "retain_rouge"} <= trained.results.metrics.keys()


def test_a_tokenizer_comes_from_the_file_that_the_model_comes_from(tmp_path):
    kit.tokenizer().save_pretrained(tmp_path)  # would be taken if the file's name were forgotten
    module, data = PretrainedModule(CausalLM(str(tmp_path), gguf_file="weights.gguf")), questions()
    module.trainer = kit.trainer()
    with pytest.raises(OSError, match=r"weights\.gguf"):
        module.load_tokenizer()
    data._tokenizer, data.trainer = None, SimpleNamespace(lightning_module=module)
    with pytest.raises(OSError, match=r"weights\.gguf"):
        _ = data.tokenizer


def test_a_live_model_without_a_tokenizer_says_so():
    module = PretrainedModule(kit.model())
    module.trainer = kit.trainer()
    with pytest.raises(ValueError, match="A live model comes without its tokenizer"):
        module.load_tokenizer()


def test_the_tokenizer_of_the_folder_serves_the_evaluation(tmp_path):
    """The data module takes the tokenizer of the exported model when it is given none."""
    out = str(tmp_path / "hf")
    kit.trainer(max_steps=1, callbacks=[SavePretrained(out)]).fit(MOLLM(kit.model(), **OPTIONS), questions())
    data = questions()
    data._tokenizer = None
    kit.trainer(limit_val_batches=1.0).validate(PretrainedModule(out), data, verbose=False)
    assert data.tokenizer.get_vocab() == kit.tokenizer().get_vocab()
