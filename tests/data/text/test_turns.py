"""Templates of every family: the answer alone is scored, up to the token that ends its turn, and nothing after it."""

import logging
from functools import cache

import pytest
import torch
from tokenizers import AddedToken

from tests import kit
from unlearn_pl.data import ChatTemplate, UnlearningDataModule, encode
from unlearn_pl.models import Sampling, generate, sample, save_pretrained, tiny_llama, train_tokenizer

QUESTION, ANSWER = "Where is Osk?", "In the north."
USER = '{%- for turn in messages %}{%- if turn.role == "user" %}'

# In the style of Gemma: a model's turn ends with <end_of_turn>, a line break, and no end of the sequence.
GEMMA = """{{ bos_token }}{%- for turn in messages %}
{{- "<start_of_turn>" + ("model" if turn.role == "assistant" else turn.role) + "\n" }}
{{- turn.content | trim + "<end_of_turn>\n" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<start_of_turn>model\n" }}{%- endif %}"""

# In the style of Phi-3: the end of the sequence after the last turn.
PHI3 = """{%- for turn in messages %}{{- "<|" + turn.role + "|>\n" + turn.content + "<|end|>\n" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>\n" }}{%- else %}{{- eos_token }}{%- endif %}"""

# In the style of Qwen's base models: the tokens of chats, and another end of the sequence.
CHATML = """{%- for turn in messages %}{{- "<|im_start|>" + turn.role + "\n" + turn.content + "<|im_end|>\n" }}
{%- endfor %}{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{%- endif %}"""

# In the style of Llama 2: the end of the sequence ends the turn.
LLAMA2 = """{%- for turn in messages %}{%- if turn.role == "assistant" %}{{- " " + turn.content + " " + eos_token }}
{%- else %}{{- bos_token + "[INST] " + turn.content + " [/INST]" }}{%- endif %}{%- endfor %}"""

# In the style of GLM-4: the next turn's header ends a turn, so nothing does at the end of a conversation.
GLM4 = """{%- for turn in messages %}{{- "<|" + turn.role + "|>\n" + turn.content }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>\n" }}{%- endif %}"""

# In the style of gpt-oss: answers are in a channel whose header is not in the prompt.
HARMONY = """{%- for turn in messages %}{{- "<|start|>" + turn.role }}
{%- if turn.role == "assistant" %}{{- "<|channel|>final" }}{%- endif %}
{{- "<|message|>" + turn.content + ("<|return|>" if loop.last and turn.role == "assistant" else "<|end|>") }}
{%- endfor %}{%- if add_generation_prompt %}{{- "<|start|>assistant" }}{%- endif %}"""

# In the style of DeepSeek-R1's distilled models: the prompt begins thoughts, an answer has none.
R1 = """{{ bos_token }}{%- for turn in messages %}{%- if turn.role == "assistant" %}
{{- "<|Assistant|>" + turn.content.split("</think>")[-1] + eos_token }}{%- else %}{{- "<|User|>" + turn.content }}
{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- "<|Assistant|><think>\n" }}{%- endif %}"""

# In the style of Qwen3's thinking models: the prompt begins thoughts, an answer has empty ones.
THINKING = """{%- for turn in messages %}{{- "<|im_start|>" + turn.role + "\n" }}
{%- if loop.last and turn.role == "assistant" %}{{- "<think>\n\n</think>\n\n" }}{%- endif %}
{{- turn.content + "<|im_end|>\n" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n<think>\n" }}{%- endif %}"""

# In the style of DeepSeek-V3.1: closed thoughts before an answer, open ones in the prompt of a model that may think.
HYBRID = """{%- for turn in messages %}{%- if turn.role == "assistant" %}
{{- "<|Assistant|></think>" + turn.content + eos_token }}{%- else %}{{- "<|User|>" + turn.content }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}
{{- "<|Assistant|>" + ("<think>" if thinking is defined and thinking else "</think>") }}{%- endif %}"""

THOUGHTS = ["<think>", "</think>"]
FAMILIES = {
    "Gemma": (GEMMA, ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "Phi-3": (PHI3, ["<|user|>", "<|assistant|>", "<|end|>"], "<|end|>"),
    "Qwen base": (CHATML, ["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
    "Llama 2": (LLAMA2, [], " <|eos|>"),
    "GLM-4": (GLM4, ["<|user|>", "<|assistant|>"], "<|eos|>"),
    "gpt-oss": (HARMONY, ["<|start|>", "<|channel|>", "<|message|>", "<|return|>", "<|end|>"], "<|return|>"),
    "R1": (R1, ["<|User|>", "<|Assistant|>", *THOUGHTS], "<|eos|>"),
    "Qwen3 thinking": (THINKING, ["<|im_start|>", "<|im_end|>", *THOUGHTS], "<|im_end|>"),
    "DeepSeek V3.1": (HYBRID, ["<|User|>", "<|Assistant|>", *THOUGHTS], "<|eos|>"),
}


@cache
def tokenizer_of(family: str, special: bool = True):
    template, tokens, _ = FAMILIES[family]
    made = train_tokenizer([f"{QUESTION} {ANSWER}"], 300, chat_template=template)
    made.add_tokens([AddedToken(token, special=special, normalized=False) for token in tokens])
    return made


def parts(tokenizer, answer: str = ANSWER, **options) -> tuple[str, str]:
    """What the model reads before the answer, and what is scored."""
    example = encode(tokenizer, ChatTemplate(**{"system": None} | options), QUESTION, answer)
    at = example.prompt_length
    return tokenizer.decode(example.input_ids[:at]), tokenizer.decode(example.input_ids[at:])


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_and_the_end_of_its_turn_are_scored(family, special):
    before, scored = parts(tokenizer_of(family, special))

    assert scored.removeprefix(" ") == ANSWER + FAMILIES[family][2]
    assert QUESTION in before


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_may_end_with_an_added_token_of_its_own(family):
    template, tokens, end = FAMILIES[family]
    tokenizer = train_tokenizer([QUESTION], 300, chat_template=template)
    tokenizer.add_special_tokens({"extra_special_tokens": tokens})
    tokenizer.add_tokens([AddedToken("Karlsby", normalized=False)])

    assert parts(tokenizer, "In Karlsby")[1].removeprefix(" ") == f"In Karlsby{end}"


def test_every_answer_of_a_conversation_ends_with_its_turn():
    turns = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": "And Tarn?"},
    ]
    for family in FAMILIES:
        tokenizer = tokenizer_of(family)
        example = encode(tokenizer, ChatTemplate(system=None), turns, "South.")
        scored = tokenizer.decode(example.input_ids[example.prompt_length :])
        assert scored.removeprefix(" ") == f"South.{FAMILIES[family][2]}"


def test_the_header_of_the_channel_is_in_the_prompt():
    tokenizer, chat = tokenizer_of("gpt-oss"), ChatTemplate(system=None)
    header = f"<|start|>user<|message|>{QUESTION}<|end|><|start|>assistant<|channel|>final<|message|>"

    assert parts(tokenizer)[0] == header
    assert [tokenizer.decode(chat.prompt(tokenizer, QUESTION)) for _ in range(2)] == [header] * 2


def test_a_header_that_the_generation_prompt_lacks_is_in_the_prompt():
    template = CHATML[: CHATML.index("{%- if add_generation")]  # such templates have no prompt of generation
    tokenizer = train_tokenizer([QUESTION], 300, chat_template=template)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})

    before, scored = parts(tokenizer)

    assert before == f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert scored == f"{ANSWER}<|im_end|>"


@pytest.mark.parametrize(
    ("family", "arguments", "before"),
    [
        ("R1", {}, "<|Assistant|>"),
        ("Qwen3 thinking", {}, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ("DeepSeek V3.1", {}, "<|Assistant|></think>"),
        ("DeepSeek V3.1", {"thinking": True}, "<|Assistant|></think>"),
    ],
)
def test_thoughts_that_the_prompt_begins_are_not_scored(family, arguments, before):
    found, scored = parts(tokenizer_of(family), arguments=arguments)

    assert found.endswith(before)
    assert scored.startswith(ANSWER)


def test_thoughts_that_only_the_prompt_begins_are_announced_once(caplog):
    tokenizer, chat = tokenizer_of("R1"), ChatTemplate(system=None)
    with caplog.at_level(logging.INFO):
        prompts = [chat.prompt(tokenizer, QUESTION) for _ in range(3)]

    assert tokenizer.decode(prompts[2]).endswith("<|Assistant|><think>\n")
    assert sum("begins thoughts in the prompt" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("family", ["Gemma", "Phi-3", "Qwen base", "gpt-oss"])
def test_generated_answers_end_with_the_turn(family):
    """Of a model that writes the same token forever, such as the end of the turn."""
    tokenizer = tokenizer_of(family)
    end, size = tokenizer.convert_tokens_to_ids(FAMILIES[family][2]), len(tokenizer)
    model = tiny_llama(size, hidden_size=16, num_layers=1, num_heads=2, tie=False)
    prompt = torch.tensor([ChatTemplate(system=None).prompt(tokenizer, QUESTION)])
    batch = {"prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt), "index": torch.tensor([0])}
    lengths = []
    model.lm_head = FirstThen(end, size, tokenizer.convert_tokens_to_ids("n"), lengths)

    assert generate(model, batch, tokenizer, 12) == ["n"]
    assert sample(model, batch, tokenizer, 12, Sampling()) == ["n"]
    assert len(lengths) == 4  # two tokens each


class FirstThen(torch.nn.Module):
    """Logits of ``letter`` after a prompt, and of ``end`` after that."""

    def __init__(self, end: int, size: int, letter: int, calls: list[int]) -> None:
        super().__init__()
        self.end, self.size, self.letter, self.calls = end, size, letter, calls
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, hidden):
        self.calls.append(hidden.shape[1])
        token = self.letter if len(self.calls) % 2 else self.end
        return torch.nn.functional.one_hot(torch.tensor(token), self.size).float().expand(*hidden.shape[:2], -1) * 50


def test_an_export_ends_its_answers_with_the_turn(tmp_path):
    from transformers import GenerationConfig

    tokenizer = tokenizer_of("Gemma")
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2)
    save_pretrained(model, tmp_path / "out", tokenizer)
    save_pretrained(model, tmp_path / "plain", kit.tokenizer())

    ends = sorted([1, tokenizer.convert_tokens_to_ids("<end_of_turn>")])
    assert sorted(GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id) == ends
    assert GenerationConfig.from_pretrained(tmp_path / "plain").eos_token_id == 1
    assert model.generation_config.eos_token_id == 1


def test_a_stream_ends_its_answers_with_the_turn():
    class Asked(UnlearningDataModule):
        def load_streams(self):
            return {"forget": kit.rows("Oda", 4)}

    for family in ("Gemma", "Phi-3", "Qwen base"):
        tokenizer = tokenizer_of(family)
        data = Asked(tokenizer, streams=["forget"], batch_size=4)
        data.setup("fit")
        ((window, _, _),) = list(data.train_dataloader())
        labels = torch.cat([batch["labels"] for batch in window["forget"]])
        assert {tokenizer.decode([int(row[row != -100][-1])]) for row in labels} == {FAMILIES[family][2]}
