"""Checks of a language model against its data, before anything is trained."""

import pytest
import torch
import transformers

from tests import kit
from unlearn_pl.models import LiveModel, LoRA, tiny_llama, train_tokenizer
from unlearn_pl.modules import GradDiff, PretrainedModule
from unlearn_pl.types import Need


def gemma3() -> transformers.PreTrainedModel:
    """A multimodal model: its sizes are in a part of its configuration."""
    text = {"vocab_size": 80, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "head_dim": 8}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, image_token_index=70, boi_token_index=71, eoi_token_index=72,
        mm_tokens_per_image=4,
    )  # fmt: skip
    return transformers.Gemma3ForConditionalGeneration(config)


def mpt() -> transformers.PreTrainedModel:
    config = transformers.MptConfig(d_model=16, n_heads=2, n_layers=2, vocab_size=64, max_seq_len=32)
    return transformers.MptForCausalLM(config)


@pytest.mark.filterwarnings("ignore:Objective 'rmu' reads layer 2, the last one")
@pytest.mark.parametrize("make", [gemma3, mpt])
def test_context_and_layers_are_found_wherever_the_configuration_has_them(make):
    model = make()
    spec = LiveModel(model)
    spec.check(model, {"rmu": [Need("hidden", 2)]}, 32)
    with pytest.raises(ValueError, match="33 tokens, but the model's context is 32"):
        spec.check(model, {}, 33)
    with pytest.raises(ValueError, match=r"'rmu' reads the hidden states of layer 8, but the model has 2 layers"):
        spec.check(model, {"rmu": [Need("hidden", 8)]}, 0)


def short_model(missing: int, lora: bool = False):
    """A model without embeddings of the last ``missing`` tokens."""
    model = tiny_llama(len(kit.tokenizer()) - missing, hidden_size=16, num_layers=1, num_heads=2)
    return LoRA(r=2).apply(model) if lora else model


@pytest.mark.parametrize("lora", [False, True])
def test_tokens_without_an_embedding_are_named(lora):
    size = len(kit.tokenizer())
    last = kit.tokenizer().convert_ids_to_tokens(size - 1)
    module = GradDiff(short_model(1, lora))
    with pytest.raises(ValueError, match=f"has {size} tokens, but the model has {size - 1} embeddings") as error:
        kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=4))
    assert f"are {last!r}. Use the tokenizer" in str(error.value)


def test_tokens_without_an_embedding_are_named_in_evaluation_too():
    with pytest.raises(ValueError, match=r"without one are ('[^']+'(, )?){8} and 12 more\. Use"):
        kit.trainer(limit_val_batches=1.0).validate(PretrainedModule(short_model(20)), kit.Questions())


@pytest.mark.parametrize("special", ["pad_token", "bos_token", "eos_token"])
def test_an_added_token_around_examples_needs_an_embedding(special):
    tokenizer = train_tokenizer(["one", "two"])
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2)
    LiveModel(model).check_tokenizer(model, tokenizer)
    tokenizer.add_special_tokens({special: "<added>"})
    with pytest.raises(ValueError, match="without one are '<added>'"):
        LiveModel(model).check_tokenizer(model, tokenizer)


def test_a_token_that_the_chat_template_writes_needs_an_embedding():
    tokenizer = train_tokenizer(["one", "two"])
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image_soft_token>", "<turn>"]})
    LiveModel(model).check_tokenizer(model, tokenizer)  # as of Gemma 3 1B: no text holds them
    tokenizer.chat_template = "<turn>{{ messages[0]['content'] }}"
    with pytest.raises(ValueError, match=r"without one are '<turn>'\."):
        LiveModel(model).check_tokenizer(model, tokenizer)


def test_models_without_a_known_embedding_are_not_checked():
    model = torch.nn.Linear(2, 2)
    LiveModel(model).check_tokenizer(model, kit.tokenizer())
    LiveModel(model).check(model, {}, 10**6)
