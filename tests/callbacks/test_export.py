"""The folder of an export: it reloads, its README is right, and it answers in plain transformers."""

import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import kit
from unlearn_pl.callbacks import QAEvaluation, SavePretrained
from unlearn_pl.callbacks.export.prompting import SAMPLES, prompting_of
from unlearn_pl.callbacks.export.reload import check_reload, output_of, text_probe
from unlearn_pl.data import ChatTemplate, PlainTemplate, default_template
from unlearn_pl.models import CausalLM, LoRA, save_pretrained, spec_of, train_tokenizer
from unlearn_pl.modules import GradDiff

CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export of a run without chat template, its callback and its module."""
    folder = tmp_path_factory.mktemp("export") / "hf"
    save, module = SavePretrained(str(folder)), GradDiff(kit.model())
    callbacks = [QAEvaluation(), save]
    options = {"max_epochs": 1, "limit_val_batches": 1.0, "num_sanity_val_steps": -1}
    kit.trainer(callbacks=callbacks, **options).fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
    return folder, save, module


def test_the_export_is_loaded_and_compared(exported, caplog):
    folder, save, module = exported
    assert save.reload.agrees
    assert "reloads to the logits of the trained model (largest difference 0" in save.reload.sentence
    ids = torch.arange(3, 13)[None]
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(again(ids).logits, module.model.eval()(ids).logits)


def test_the_readme_names_method_data_metrics_and_limits(exported):
    folder, save, _ = exported
    text = (folder / "README.md").read_text()
    assert "unlearn_pl.modules.GradDiff:" in text
    assert len(re.findall(r"stream `(forget|retain)`: `[0-9a-f]{64}`", text)) == 2
    assert re.search(r"\| qa/forget_probability \| 0\.\d+ \| 0\.\d+ \| 0\.\d+ to 0\.\d+ \|", text)
    assert "## Limits" in text
    assert save.reload.sentence in text
    assert "Question: QUESTION\nAnswer:" in text


def test_the_code_in_the_readme_prompts_as_training_did(exported, monkeypatch, capsys):
    folder, _, _ = exported
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    names = {}
    exec(code.replace("max_new_tokens=64", "max_new_tokens=4"), names)
    expected = PlainTemplate().prompt(kit.tokenizer(), "QUESTION")
    assert names["prompt"]["input_ids"].tolist() == [expected]
    assert names["answer"].shape[1] > len(expected)


def test_an_exported_tokenizer_is_read_as_the_template_that_it_was_made_of(exported):
    folder, _, _ = exported
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template
    assert not kit.tokenizer().chat_template  # that of training is not touched
    template = default_template(tokenizer)
    assert type(template) is PlainTemplate
    for question in SAMPLES:
        pair = (question, "An answer.")
        assert template.conversation(tokenizer, *pair) == PlainTemplate().conversation(kit.tokenizer(), *pair)


@pytest.mark.parametrize(
    "template",
    [PlainTemplate(), PlainTemplate("", " "), PlainTemplate("Q: \"'", "\n\\A{{ x }}:"), PlainTemplate("ü", "")],
)
@pytest.mark.parametrize("adds_bos", [False, True])
def test_plain_templates_become_chat_templates_token_by_token(template, adds_bos):
    tokenizer = train_tokenizer(["Who keeps it? Maud."], 300)
    if adds_bos:
        from tokenizers.processors import TemplateProcessing

        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    prompting = prompting_of(tokenizer, template)
    assert prompting.messages == [{"role": "user", "content": "QUESTION"}]
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Maud."},
        {"role": "user", "content": "Where? "},
    ]
    found = prompting.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert found == template.prompt(tokenizer, turns)
    again = default_template(prompting.tokenizer)
    assert (again.question, again.answer) == (template.question, template.answer)
    answered = prompting.tokenizer.apply_chat_template([*turns[:1], turns[1]], return_dict=False)
    assert answered == [*template.conversation(tokenizer, "Who?", "Maud."), tokenizer.eos_token_id]


def test_layouts_that_no_chat_template_writes_are_shown():
    tokenizer = train_tokenizer(["Who?"], 300)
    odd = prompting_of(tokenizer, PlainTemplate("#} Q", "A"))
    assert odd.messages is None
    assert odd.tokenizer is tokenizer
    assert odd.text == "#} QQUESTIONA"


def test_tokenizers_that_cannot_write_a_question_are_exported_all_the_same():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    assert prompting_of(PreTrainedTokenizerFast(tokenizer_object=words), PlainTemplate()) is None


def test_the_system_message_of_training_is_named():
    tokenizer = train_tokenizer(["Who?"], 300, chat_template=CHATML)
    prompting = prompting_of(tokenizer, ChatTemplate(system="Be brief."))
    assert prompting.tokenizer is tokenizer
    assert [message["role"] for message in prompting.messages] == ["system", "user"]
    assert prompting_of(tokenizer, ChatTemplate(system=None)).messages == [{"role": "user", "content": "QUESTION"}]


def test_another_model_in_the_folder_is_found_out(tmp_path):
    model, ids = kit.model(), torch.arange(3, 13)
    probe = text_probe(model, spec_of(model), ids)
    logits = output_of(probe, model)
    save_pretrained(kit.model(seed=1), tmp_path / "hf")
    other = check_reload(tmp_path / "hf", logits, probe, torch.float32)
    assert other.agrees is False
    assert "does NOT reload" in other.sentence
    broken = check_reload(tmp_path / "nowhere", logits, probe, torch.float32)
    assert broken.agrees is None
    assert "could not be loaded" in broken.sentence


def test_a_broken_export_is_a_warning(tmp_path, monkeypatch):
    from unlearn_pl.callbacks import save_pretrained as module

    def halved(model, directory, tokenizer, merge_lora, files):
        save_pretrained(kit.model(seed=3), directory, tokenizer, merge_lora)

    monkeypatch.setattr(module, "save_pretrained", halved)
    trainer = kit.trainer(max_steps=1, callbacks=[SavePretrained(str(tmp_path / "hf"))])
    with pytest.warns(UserWarning, match="does NOT reload to the logits of the trained model"):
        trainer.fit(GradDiff(kit.model()), kit.Questions(batch_size=8, micro_batch_size=4))


@pytest.mark.parametrize("merge_lora", [True, False])
def test_adapters_are_checked_too(merge_lora, tmp_path):
    pytest.importorskip("peft")
    save_pretrained(kit.model(), tmp_path / "base", kit.tokenizer())
    save = SavePretrained(str(tmp_path / "hf"), merge_lora)
    module = GradDiff(CausalLM(str(tmp_path / "base"), lora=LoRA(r=2)))
    kit.trainer(max_steps=2, callbacks=[save]).fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
    assert save.reload.agrees, save.reload.sentence


def test_the_check_changes_no_random_number(tmp_path):
    drawn = []
    for check in (True, False):
        torch.manual_seed(0)
        save = SavePretrained(str(tmp_path / str(check)), check=check)
        kit.trainer(max_steps=1, callbacks=[save]).fit(GradDiff(kit.model()), kit.Questions(batch_size=8))
        drawn.append(torch.rand(3))
        assert (save.reload is not None) is check
    assert torch.equal(*drawn)
