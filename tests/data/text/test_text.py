import pytest
from tokenizers import processors

from unlearn_pl.data import ChatTemplate, PlainTemplate, Template, default_template, encode
from unlearn_pl.models import train_tokenizer

QUESTION, ANSWER = "who keeps the mill ?", "maud ferrier does , since spring"
TEXTS = ["Who keeps the mill of Tarn? Maud Ferrier has kept it since spring.", "Where is Osk? It lies in the north."]
TURNS = (
    "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content }}<|eos|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def test_chat_scores_the_answer_and_the_end_of_it(word_tokenizer):
    tokenizer = word_tokenizer()

    example = encode(tokenizer, ChatTemplate(system="be brief"), QUESTION, ANSWER)

    #       <system> be brief <end> <user> who keeps the mill ? <end> <assistant>
    prompt = [2, 16, 17, 1, 3, 5, 6, 7, 8, 9, 1, 4]
    #       maud ferrier does , since spring <end>
    answer = [10, 11, 12, 13, 14, 15, 1]
    assert example.input_ids == prompt + answer
    assert example.labels == [-100] * 12 + answer


def test_chat_without_a_system_message(word_tokenizer):
    example = encode(word_tokenizer(), ChatTemplate(system=None), QUESTION, ANSWER)

    assert example.input_ids[:2] == [3, 5]
    assert example.prompt_length == 8


def test_chat_passes_the_date_on(word_tokenizer):
    tokenizer = word_tokenizer("today is {{ date_string }} {% for m in messages %}{{ m.content }} {% endfor %}")

    prompt = ChatTemplate(system=None, date="spring").prompt(tokenizer, QUESTION)

    assert prompt[:3] == [18, 19, 15]


def test_plain_text_attaches_the_space_to_the_answer():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)

    example = encode(tokenizer, PlainTemplate(), "Who keeps the mill?", "Maud Ferrier")

    prompt, answer = example.input_ids[: example.prompt_length], example.input_ids[example.prompt_length :]
    assert tokenizer.decode(prompt) == "Question: Who keeps the mill?\nAnswer:"
    assert tokenizer.decode(answer) == " Maud Ferrier<|eos|>"
    assert prompt == PlainTemplate().prompt(tokenizer, "Who keeps the mill?")


def test_special_tokens_that_a_tokenizer_adds_stay_out_of_the_prompt():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|eos|>", special_tokens=[("<|bos|>", 0), ("<|eos|>", 1)]
    )

    example = encode(tokenizer, PlainTemplate(), "Where is Osk?", "In the north.")

    assert example.input_ids[0] == 0
    assert example.input_ids.count(1) == 1
    assert example.labels[-1] == 1
    assert tokenizer.decode(example.input_ids[example.prompt_length :]) == " In the north.<|eos|>"


@pytest.mark.parametrize("after_the_turn", ["", "\n", "\n\n"])
def test_the_answer_ends_with_one_end_of_sequence(after_the_turn):
    # SmolLM2 and Qwen write a line break after every turn, the last one too.
    tokenizer = train_tokenizer(
        TEXTS, vocab_size=300, chat_template=TURNS.replace("<|eos|>\n", "<|eos|>" + after_the_turn)
    )

    example = encode(tokenizer, ChatTemplate(), "Where is Osk?", "In the north.")

    assert tokenizer.decode(example.input_ids[example.prompt_length :]) == "In the north.<|eos|>"


def test_the_end_of_sequence_is_added_where_no_token_of_the_template_ends_the_turn():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, chat_template=TURNS.replace("<|eos|>", "<|turn-end|>"))

    example = encode(tokenizer, ChatTemplate(), "Where is Osk?", "In the north.")

    assert tokenizer.decode(example.input_ids[example.prompt_length :]) == "In the north.<|turn-end|><|eos|>"


def test_token_counts_do_not_drift():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, chat_template=TURNS)
    pairs = [("Who keeps the mill of Tarn?", "Maud Ferrier has kept it since spring."), ("Where is Osk?", "North.")]

    chat = [encode(tokenizer, ChatTemplate(), *pair) for pair in pairs]
    plain = [encode(tokenizer, PlainTemplate(), *pair) for pair in pairs]

    assert [(len(example), example.prompt_length) for example in chat] == [(104, 85), (85, 80)]
    assert [(len(example), example.prompt_length) for example in plain] == [(48, 29), (30, 24)]


def test_default_is_the_chat_template_of_the_tokenizer(word_tokenizer):
    assert isinstance(default_template(word_tokenizer()), ChatTemplate)
    assert isinstance(default_template(word_tokenizer(chat_template=None)), PlainTemplate)


def test_refuses_a_prompt_that_is_not_the_beginning(word_tokenizer):
    class Backwards(Template):
        def prompt(self, tokenizer, question):
            return tokenizer(question)["input_ids"]

        def conversation(self, tokenizer, question, answer):
            return tokenizer(f"{answer} {question}")["input_ids"]

    with pytest.raises(ValueError, match=r"Backwards.*do not begin with the tokens of the prompt 'who keeps"):
        encode(word_tokenizer(), Backwards(), QUESTION, ANSWER)


def test_refuses_a_tokenizer_without_end_of_sequence(word_tokenizer):
    tokenizer = word_tokenizer()
    tokenizer.eos_token = None

    with pytest.raises(ValueError, match=r"set tokenizer\.eos_token"):
        encode(tokenizer, PlainTemplate(), QUESTION, ANSWER)
