from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHAT = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content }} <end>{% if not loop.last %} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %} <assistant>{% endif %}"
)
WORDS = (
    "<pad> <end> <system> <user> <assistant> who keeps the mill ? maud ferrier does , since spring be brief today is"
)


@pytest.fixture
def word_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    """Makes a tokenizer with one token per word, whose ids can be counted by hand: the position in ``WORDS``."""

    def make(chat_template: str | None = CHAT, pad_token: str = "<pad>") -> PreTrainedTokenizerFast:
        vocabulary = {word: i for i, word in enumerate([*WORDS.split(), "<unknown>"])}
        words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return PreTrainedTokenizerFast(
            tokenizer_object=words, eos_token="<end>", pad_token=pad_token, chat_template=chat_template
        )

    return make
