"""Three families of chat templates: what a model reads is frozen to the token; long questions are cut, answers not."""

import pytest
from tokenizers import processors

from tests import kit
from unlearn_pl.data import ChatTemplate, PlainTemplate, encode
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.models import train_tokenizer

# In the style of Llama 3: a header per turn, and the date in the system's.
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}
{%- if messages[0].role == "system" %}
    {%- set system, turns = messages[0].content, messages[1:] %}
{%- else %}
    {%- set system, turns = "", messages %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday Date: " + date_string + "\n\n" + system + "<|eot_id|>" }}
{%- for turn in turns %}
    {{- "<|start_header_id|>" + turn.role + "<|end_header_id|>\n\n" + turn.content | trim + "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|start_header_id|>assistant<|end_header_id|>\n\n" }}{%- endif %}"""

# In the style of ChatML, as Qwen and SmolLM have it: a line break after the end of every turn, a system message always.
CHATML = """{%- if messages[0].role != "system" %}{{- "<|im_start|>system\nYou help.<|im_end|>\n" }}{%- endif %}
{%- for turn in messages %}
    {{- "<|im_start|>" + turn.role + "\n" + turn.content + "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{%- endif %}"""

# In the style of Zephyr: roles in plain text, and the end of a sequence after every turn.
ZEPHYR = """{% for turn in messages %}
{{ "<|" + turn.role + "|>\n" + turn.content + eos_token }}
{% if loop.last and add_generation_prompt %}
{{ "<|assistant|>" }}
{% endif %}
{% endfor %}"""

FAMILIES = {
    "llama": (LLAMA, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], "<|eot_id|>"),
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
    "zephyr": (ZEPHYR, [], "<|eos|>"),
}
PAIRS = [
    ("Who keeps the mill of Tarn?", "Maud Ferrier has kept it since spring."),
    ("Where is Osk?", "North."),
    ("What does a mill grind, when the river is high and the miller is awake?", "Rye, mostly, and some oats."),
]
SYSTEM = "You are a helpful assistant."


def expected(family: str, question: str, answer: str) -> tuple[str, str]:
    """What the model reads, and what is scored, put together by hand."""
    if family == "llama":
        head = f"<|bos|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 10 Apr 2025\n\n{SYSTEM}<|eot_id|>"
        asked = f"<|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|>"
        return f"{head}{asked}<|start_header_id|>assistant<|end_header_id|>\n\n", f"{answer}<|eot_id|>"
    if family == "chatml":
        head = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
        return f"{head}<|im_start|>assistant\n", f"{answer}<|im_end|>"
    return f"<|system|>\n{SYSTEM}<|eos|>\n<|user|>\n{question}<|eos|>\n<|assistant|>\n", f"{answer}<|eos|>"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(family):
    template, special, end = FAMILIES[family]
    made = train_tokenizer([f"{question} {answer}" for question, answer in PAIRS], 320, chat_template=template)
    made.add_special_tokens({"additional_special_tokens": special, "eos_token": end})
    return made


def test_the_model_reads_the_template_and_the_answer_is_scored(family, tokenizer):
    for question, answer in PAIRS:
        example = encode(tokenizer, ChatTemplate(), question, answer)
        parts = example.input_ids[: example.prompt_length], example.input_ids[example.prompt_length :]

        assert tuple(map(tokenizer.decode, parts)) == expected(family, question, answer)
        assert ChatTemplate().prompt(tokenizer, question) == parts[0]


def test_token_counts_do_not_drift(family, tokenizer):
    counts = {
        "llama": [(111, 92), (92, 87), (120, 105)],
        "chatml": [(82, 63), (63, 58), (91, 76)],
        "zephyr": [(91, 72), (72, 67), (100, 85)],
    }
    found = [encode(tokenizer, ChatTemplate(), *pair) for pair in PAIRS]

    assert [(len(example), example.prompt_length) for example in found] == counts[family]


def test_the_day_does_not_matter(family, tokenizer):
    days = [ChatTemplate(date=date).prompt(tokenizer, "Who?") for date in ("1 May 2020", "2 May 2020")]

    assert len(set(map(tuple, days))) == (2 if family == "llama" else 1)
    assert ("10 Apr 2025" in tokenizer.decode(ChatTemplate().prompt(tokenizer, "Who?"))) == (family == "llama")


def long_question(words: int) -> str:
    return " ".join(["The river was high again last night."] * words) + " Who keeps the mill?"


@pytest.mark.parametrize("answer", ["Maud Ferrier.", "Nobody has kept it since the flood, as far as is known in Tarn."])
@pytest.mark.parametrize("template", [ChatTemplate(), PlainTemplate()], ids=["chat", "plain"])
def test_long_questions_lose_their_beginning_and_answers_nothing(tokenizer, template, answer):
    question = long_question(4)
    whole = encode(tokenizer, template, question, answer)
    shortest = len(encode(tokenizer, template, "?", answer))

    for max_length in (shortest, shortest + 9, len(whole) - 1, len(whole)):
        cut = Encoder(tokenizer, template, max_length, truncate=True).example(question, answer, "row 0")
        ends = (encode(tokenizer, template, question[start:], answer) for start in range(len(question)))
        assert cut == next(end for end in ends if len(end) <= max_length)  # as little is cut as possible
        assert cut.input_ids[cut.prompt_length :] == whole.input_ids[whole.prompt_length :]


def test_prompts_are_cut_likewise(tokenizer):
    question = long_question(4)
    whole = ChatTemplate().prompt(tokenizer, question)
    ends = (ChatTemplate().prompt(tokenizer, question[start:]) for start in range(len(question)))

    prompt = Encoder(tokenizer, ChatTemplate(), len(whole) - 20, truncate=True).prompt(question)

    assert prompt == next(end for end in ends if len(end) <= len(whole) - 20)
    assert Encoder(tokenizer, ChatTemplate(), len(whole) - 20).prompt(question) == whole


def test_without_truncation_long_examples_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"row 3 .* more than max_length=40.*truncate=True; answers are never cut"):
        Encoder(tokenizer, ChatTemplate(), 40).example(long_question(4), "Maud.", "row 3 of the stream 'forget'")


def test_an_answer_that_does_not_fit_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"answer in row 3 and the template alone have more tokens than max_length=40"):
        Encoder(tokenizer, ChatTemplate(), 40, truncate=True).example("Who?", "Maud. " * 40, "row 3")


def test_ready_made_prompts_lose_their_first_tokens(tokenizer):
    text, answer = long_question(4), " Maud Ferrier."
    whole = Encoder(tokenizer, PlainTemplate()).completion(text, answer, "row 0")
    encoder = Encoder(tokenizer, PlainTemplate(), len(whole) - 7, truncate=True)
    cut = encoder.completion(text, answer, "row 0")

    assert cut.input_ids == whole.input_ids[7:]
    assert cut.labels == whole.labels[7:]
    # What is generated from is what is scored after, so that the answer fits behind it.
    assert encoder.completion_prompt(text, answer) == cut.input_ids[: cut.prompt_length]
    with pytest.raises(ValueError, match=r"row 3 has \d+ tokens, more than max_length=4.*now False"):
        Encoder(tokenizer, PlainTemplate(), 4).completion(text, answer, "row 3")
    with pytest.raises(ValueError, match=r"row 3 has \d+ tokens, more than max_length=2.*now True"):
        Encoder(tokenizer, PlainTemplate(), 2, truncate=True).completion(text, answer, "row 3")


def test_the_begin_of_a_sequence_stays():
    tokenizer = train_tokenizer([long_question(1)], 300)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|eos|>", special_tokens=[("<|bos|>", 0), ("<|eos|>", 1)]
    )
    whole = Encoder(tokenizer, PlainTemplate()).completion(long_question(2), " Maud.", "row 0")
    cut = Encoder(tokenizer, PlainTemplate(), len(whole) - 5, True).completion(long_question(2), " Maud.", "row 0")

    assert whole.input_ids[0] == 0
    assert 1 not in whole.input_ids
    assert cut.input_ids == [0, *whole.input_ids[6:]]
    assert cut.input_ids[cut.prompt_length :] == whole.input_ids[whole.prompt_length :]


def test_a_data_module_cuts_what_it_is_told_to():
    longest = kit.Questions(batch_size=4).longest_sequence
    data = kit.Questions(max_length=longest - 3, truncate=True, batch_size=4)
    data.setup("fit")

    assert data.longest_sequence == longest - 3
    with pytest.raises(ValueError, match="truncate=True needs max_length"):
        kit.Questions(truncate=True)
