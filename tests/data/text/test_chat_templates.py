"""Chat templates as models have them: clocks, contents in parts, no system role, thoughts."""

import logging

import pytest

from unlearn_pl.data import ChatTemplate, encode
from unlearn_pl.models import train_tokenizer

QUESTION, ANSWER = "Where is Osk?", "In the north."
TEXTS = ["Who keeps the mill of Tarn? Maud Ferrier has kept it since spring.", f"{QUESTION} {ANSWER}"]

TURNS = """{%- for turn in messages %}{{- "<|" + turn.role + "|>" + turn.content + "<|end|>" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>" }}{%- endif %}"""

# In the style of Gemma 2: no system role, and a check of the order of turns.
NO_SYSTEM = (
    '{%- if messages[0].role == "system" %}{{ raise_exception("System role not supported") }}{%- endif %}' + TURNS
)
NO_SYSTEM_BY_ORDER = (
    '{%- for turn in messages %}{%- if (turn.role == "user") != (loop.index0 % 2 == 0) %}'
    '{{- raise_exception("Conversation roles must alternate user/assistant") }}{%- endif %}{%- endfor %}' + TURNS
)

# In the style of SmolVLM: contents are lists of parts.
PARTS = """{%- for turn in messages %}{{- "<|" + turn.role + "|>" }}
{%- for part in turn.content %}{%- if part.type == "text" %}{{- part.text }}{%- endif %}{%- endfor %}{{- "<|end|>" }}
{%- endfor %}{%- if add_generation_prompt %}{{- "<|assistant|>" }}{%- endif %}"""

# In the style of Qwen3: an empty block of thoughts before the last answer, in the prompt only when thoughts are off.
THOUGHTS = """{%- for turn in messages %}{{- "<|" + turn.role + "|>\n" }}
{%- if loop.last and turn.role == "assistant" %}{{- "<think>\n\n</think>\n\n" }}{%- endif %}
{{- turn.content + "<|end|>\n" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>\n" }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- "<think>\n\n</think>\n\n" }}{%- endif %}
{%- endif %}"""


def tokenizer_of(template: str, eos: str | None = "<|end|>"):
    made = train_tokenizer(TEXTS, 320, chat_template=template)
    made.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    made.eos_token = eos
    return made


def prompt(template: str, **options) -> str:
    tokenizer = tokenizer_of(template)
    return tokenizer.decode(ChatTemplate(**{"system": None} | options).prompt(tokenizer, QUESTION))


def parts(template: str, answer: str = ANSWER, **options) -> tuple[str, str]:
    """What the model reads before the answer, and what is scored."""
    tokenizer = tokenizer_of(template)
    example = encode(tokenizer, ChatTemplate(**{"system": None} | options), QUESTION, answer)
    return (
        tokenizer.decode(example.input_ids[: example.prompt_length]),
        tokenizer.decode(example.input_ids[example.prompt_length :]),
    )


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("%d %b %Y", "10 Apr 2025"),  # Llama 3
        ("%Y-%m-%d", "2025-04-10"),  # gpt-oss, Mistral
        ("%F", "2025-04-10"),
        ("%B %d, %Y", "April 10, 2025"),  # Granite
        ("%A, %-d. %-m. %y", "Thursday, 10. 4. 25"),
        ("%H:%M, day %j, 100%%", "00:00, day 100, 100%"),
    ],
)
def test_the_clock_stands_still_in_every_format(layout, expected):
    assert prompt(f'{{{{ strftime_now("{layout}") }}}}') == expected


@pytest.mark.parametrize("name", ["date_string", "date", "today", "today_date", "current_date", "datetime"])
def test_the_date_has_every_name_that_templates_use(name):
    template = f'{{% if {name} is not defined %}}{{% set {name} = strftime_now("%c") %}}{{% endif %}}{{{{ {name} }}}}'

    assert prompt(template) == "10 Apr 2025"
    assert prompt(template, date="spring") == "spring"


@pytest.mark.parametrize(
    "template",
    [
        '{% macro head() %}{{ strftime_now("%Y") }}{% endmacro %}{{ head() }}',
        "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}",
        '{% set layout = "%Y" %}{% set year = strftime_now(layout) | int %}{{ year }}',
        '{% for turn in messages %}{{ strftime_now("%Y") }}{% endfor %}',
    ],
)
def test_the_clock_stands_still_wherever_a_template_looks(template):
    assert prompt(template, date="1 May 2020") == prompt(template, date="2020-05-01") == "2020"


def test_a_date_in_words_is_written_as_it_is():
    assert prompt('{{ strftime_now("%Y") }}', date='the "10th" of May, 日') == 'the "10th" of May, 日'


@pytest.mark.parametrize("begin", ["", "\n", "\n\n", " ", "  {% if 1 %}x{% endif %}\n", "{{ 1 }}\n", "{#- note #}\n"])
def test_the_rest_of_a_template_with_a_clock_stays_as_it_is(begin):
    tokenizer = tokenizer_of(begin + '{{ strftime_now("") }}' + TURNS)
    by_itself = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=False)

    ids = ChatTemplate(system=None).prompt(tokenizer, QUESTION)

    assert tokenizer.decode(ids) == by_itself + "<|assistant|>"


@pytest.mark.parametrize("answer", [ANSWER, "<", "end", "e"])
def test_a_template_that_drops_the_answer_is_refused_by_name(answer):
    tokenizer = tokenizer_of(PARTS)
    tokenizer.name_or_path = "org/parts-only"

    with pytest.raises(ValueError, match=r"(?s)ChatTemplate: nothing of the answer .* of 'org/parts-only', only"):
        encode(tokenizer, ChatTemplate(), QUESTION, answer)


def test_an_answer_of_thoughts_that_the_template_drops_is_refused():
    template = TURNS.replace("turn.content", 'turn.content.split("</think>")[-1]')

    assert parts(template, "<think>Hm.</think>North.") == ("<|user|>Where is Osk?<|end|><|assistant|>", "North.<|end|>")
    with pytest.raises(ValueError, match="nothing of the answer '<think>Hm"):
        parts(template, "<think>Hm.</think>")


def test_a_template_may_write_the_answer_in_another_form():
    assert parts(TURNS.replace("turn.content", "turn.content | upper"))[1] == "IN THE NORTH.<|end|>"


@pytest.mark.parametrize("template", [NO_SYSTEM, NO_SYSTEM_BY_ORDER], ids=["refused", "by order"])
def test_without_a_system_role_the_system_message_is_left_out_with_a_notice(template, caplog):
    tokenizer, chat = tokenizer_of(template), ChatTemplate(system="Be brief.")
    with caplog.at_level(logging.INFO):
        examples = [encode(tokenizer, chat, QUESTION, ANSWER) for _ in range(3)]

    assert tokenizer.decode(examples[0].input_ids) == f"<|user|>{QUESTION}<|end|><|assistant|>{ANSWER}<|end|>"
    assert examples[0] == examples[1] == examples[2] == encode(tokenizer, ChatTemplate(system=None), QUESTION, ANSWER)
    assert [record.message for record in caplog.records if "no system role" in record.message] == [
        f"The chat template of {tokenizer.name_or_path or 'the tokenizer'} has no system role: the system message "
        "'Be brief.' is left out."
    ]


def test_system_turns_of_the_data_are_not_left_out():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]

    with pytest.raises(ValueError, match=r"roles \['system', 'user'\]: System role not supported"):
        ChatTemplate().prompt(tokenizer_of(NO_SYSTEM), turns)
    assert "Be brief." in tokenizer_of(TURNS).decode(ChatTemplate().prompt(tokenizer_of(TURNS), turns))


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_missing_special_token_is_named(system):
    tokenizer = tokenizer_of(TURNS.replace('"<|end|>"', "eos_token"), eos=None)

    with pytest.raises(ValueError, match=r"'eos_token' is undefined\. Set tokenizer\.eos_token\."):
        encode(tokenizer, ChatTemplate(system), QUESTION, ANSWER)


def test_empty_thoughts_are_not_scored():
    header = f"<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n"
    by_default, off = parts(THOUGHTS), parts(THOUGHTS, arguments={"enable_thinking": False})

    assert by_default == off == (f"{header}<think>\n\n</think>\n\n", f"{ANSWER}<|end|>")
    assert prompt(THOUGHTS) == header  # what is generated from: the model may think
    assert prompt(THOUGHTS, arguments={"enable_thinking": False}) == f"{header}<think>\n\n</think>\n\n"


@pytest.mark.parametrize("block", ["<thinking></thinking>", "<seed:think>\n</seed:think>\n", "[THINK][/THINK]"])
def test_empty_thoughts_of_other_families_are_not_scored(block):
    template = TURNS.replace('"|>" +', '"|>" + (BLOCK if turn.role == "assistant" else "") +')

    assert parts(template.replace("BLOCK", repr(block)))[1] == f"{ANSWER}<|end|>"


def test_thoughts_with_words_are_scored():
    answer = "<think>It is cold there.</think>\n\nIn the north."

    assert parts(TURNS, answer)[1] == f"{answer}<|end|>"


def test_arguments_reach_the_template_and_may_set_the_date():
    assert prompt("{{ tone }} {{ date_string }}", arguments={"tone": "dry", "date_string": "May"}) == "dry May"


def test_arguments_that_are_no_variables_are_refused():
    with pytest.raises(ValueError, match=r"has \['add_generation_prompt', 'max_length'\]; accepted are variables"):
        ChatTemplate(arguments={"max_length": 3, "add_generation_prompt": False, "enable_thinking": False})
