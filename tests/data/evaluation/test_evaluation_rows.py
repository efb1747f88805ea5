"""Rows of evaluation splits that are no questions: texts, ready-made prompts, multiple choice."""

from itertools import pairwise

import lightning.pytorch as pl
import pytest
import torch

from tests import kit
from unlearn_pl.data import (
    CandidateDataset,
    Completion,
    Encoder,
    MultipleChoice,
    Passage,
    PromptDataset,
    UnlearningDataModule,
    default_template,
)
from unlearn_pl.models import train_tokenizer
from unlearn_pl.modules import PretrainedModule

TEXTS = ["Maud Ferrier keeps the mill of Tarn, as her aunt did before her.", "Osk lies in the north.", "Rye."]
QUESTION = MultipleChoice(" Where is Osk?\n", ["In the north", "In the south", "Nowhere", "At sea"], 2, "mill history")


class Kinds(UnlearningDataModule):
    def load_streams(self):
        pytest.fail("an evaluation asked for training streams")

    def load_splits(self):
        return {
            "questions": kit.rows("Oda", 3),
            "passages": [Passage(text, window=8) for text in TEXTS],
            "beginnings": lambda: [Passage(text, window=8, whole=False) for text in TEXTS],
            "completions": [Completion("Maud Ferrier keeps", " the mill of Tarn."), Completion("Osk lies ", "north")],
            "choices": [QUESTION, MultipleChoice("Is rye a grain?", ["yes", "no"], 0)],
            "mixed": [*kit.rows("Oda", 1), QUESTION],
        }


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*TEXTS, "The following are multiple choice questions (with answers) about Answer: A B C D"])


def examples(data, split):
    return sorted(data._candidates[split], key=lambda example: (example.index, example.choice))


def test_every_token_of_a_passage_is_scored_once_but_the_first(tokenizer):
    data = Kinds(tokenizer, splits=["passages"])

    for index, text in enumerate(TEXTS):
        windows = [e for e in examples(data, "passages") if e.index == index]
        ids = tokenizer(text)["input_ids"]
        assert [e.choice for e in windows] == list(range(len(windows)))
        assert [token for e in windows for token in e.input_ids[e.prompt_length :]] == ids[1:]
        assert all(2 <= len(e) <= 8 for e in windows)
        assert all(late.input_ids[0] == early.input_ids[-1] for early, late in pairwise(windows))


def test_only_the_beginning_of_a_passage_on_demand(tokenizer):
    data = Kinds(tokenizer, splits=["beginnings"])

    assert [e.input_ids for e in examples(data, "beginnings")] == [tokenizer(text)["input_ids"][:8] for text in TEXTS]


def test_completions_are_tokenized_as_a_whole_and_end_without_an_end(tokenizer):
    data = Kinds(tokenizer, splits=["completions"])
    first, second = examples(data, "completions")

    assert first.input_ids == tokenizer("Maud Ferrier keeps the mill of Tarn.")["input_ids"]
    assert tokenizer.decode(first.input_ids[first.prompt_length :]) == " the mill of Tarn."
    assert second.input_ids == tokenizer("Osk lies north")["input_ids"]
    assert tokenizer.decode(second.input_ids[second.prompt_length :]) == " north"
    (batch,) = data.predict_dataloader()["completions.generate"]
    prompts = {i: tokenizer.decode(ids[mask == 1]) for i, ids, mask in zip(*batch_columns(batch), strict=True)}
    assert prompts == {0: "Maud Ferrier keeps", 1: "Osk lies"}
    assert dict(zip(batch["index"].tolist(), batch["answer"], strict=True)) == {0: "the mill of Tarn.", 1: "north"}


def test_drafts_are_what_the_right_answer_adds_to_the_prompt(tokenizer):
    data = Kinds(tokenizer, splits=["questions", "completions"])

    for split in data.splits:
        answers = {e.index: e for e in examples(data, split) if not e.choice}
        (batch,) = data.predict_dataloader()[f"{split}.generate"]
        rows = zip(*batch_columns(batch), batch["draft_ids"], batch["draft_mask"], strict=True)
        for index, prompt, mask, draft, draft_mask in rows:
            whole = answers[index]
            assert prompt[mask == 1].tolist() + draft[draft_mask == 1].tolist() == whole.input_ids
            assert draft_mask.sum() == len(whole) - whole.prompt_length
        assert draft_mask.any()


def test_a_draft_that_does_not_follow_the_prompt_is_left_out(tokenizer):
    class Cut(Completion):
        def prompt(self, encoder):
            return super().prompt(encoder)[1:]

    rows = [Cut("Maud Ferrier keeps", " the mill")]
    right = CandidateDataset("cut", rows, Encoder(tokenizer, default_template(tokenizer))).first_candidates()
    dataset = PromptDataset(rows, Encoder(tokenizer, default_template(tokenizer)), right)
    assert right[0] == tokenizer("Maud Ferrier keeps the mill")["input_ids"]
    assert dataset[0].draft == []


def batch_columns(batch):
    return batch["index"].tolist(), batch["prompt_ids"], batch["prompt_mask"]


def test_a_token_with_a_part_of_the_answer_is_scored(tokenizer):
    whole = tokenizer("Maud Ferrier")["input_ids"]
    data = Kinds(tokenizer)
    example = data._encoder.completion("Maud Ferr", "ier", "row 0")

    assert example.input_ids == whole
    assert tokenizer.decode(example.input_ids[: example.prompt_length]) in "Maud Ferr"
    assert tokenizer.decode(example.input_ids[example.prompt_length :]).endswith("ier")


def test_letters_of_multiple_choice_are_the_candidates(tokenizer):
    data = Kinds(tokenizer, splits=["choices"])
    found = examples(data, "choices")

    prompt = (
        "The following are multiple choice questions (with answers) about mill history.\n\nWhere is Osk?\n"
        "A. In the north\nB. In the south\nC. Nowhere\nD. At sea\nAnswer:"
    )
    assert [tokenizer.decode(e.input_ids) for e in found[:4]] == [f"{prompt} {letter}" for letter in "ABCD"]
    assert [tokenizer.decode(e.input_ids) for e in found[4:]] == [
        f"Is rye a grain?\nA. yes\nB. no\nAnswer: {letter}" for letter in "AB"
    ]
    assert all(len(e) - e.prompt_length == 1 for e in found)
    assert [(e.index, e.choice, e.target) for e in found] == [(0, c, 2) for c in range(4)] + [(1, c, 0) for c in (0, 1)]
    (batch,) = data.val_dataloader()["choices"]
    assert {(i, t) for i, t in zip(batch["index"].tolist(), batch["target"].tolist(), strict=True)} == {(0, 2), (1, 0)}
    assert data.predict_dataloader() == {}


def test_all_kinds_are_scored_and_generated_by_any_model(tokenizer):
    splits = ["questions", "passages", "beginnings", "completions", "choices"]
    data = Kinds(tokenizer, splits=splits, eval_batch_size=4)
    seen = {}

    class Seen(pl.Callback):
        def on_test_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
            name = list(trainer.test_dataloaders)[dataloader_idx]
            seen[name] = seen.get(name, 0) + len(outputs["index"])
            if "nll" in outputs:
                assert torch.isfinite(outputs["nll"]).all()
                assert (outputs["num_tokens"] > 0).all()

    model = PretrainedModule(kit.tiny_llama(len(tokenizer), hidden_size=16, num_layers=1), max_new_tokens=2)
    kit.trainer(callbacks=[Seen()]).test(model, data, verbose=False)
    windows = sum(-(-(len(tokenizer(text)["input_ids"]) - 1) // 7) for text in TEXTS)

    assert seen == {
        "questions": 3,
        "passages": windows,
        "beginnings": 3,
        "completions": 2,
        "choices": 6,
        "questions.generate": 3,
        "completions.generate": 2,
    }


def test_results_are_compared_by_the_content_of_rows(tokenizer):
    splits = ["questions", "passages", "beginnings", "completions", "choices"]
    hashes = Kinds(tokenizer, splits=splits).question_hashes()

    assert {name: len(set(of.values())) for name, of in hashes.items()} == {
        "questions": 3,
        "passages": 3,
        "beginnings": 3,
        "completions": 2,
        "choices": 2,
    }
    assert hashes["passages"] == hashes["beginnings"]


def test_kinds_are_not_mixed_in_a_split(tokenizer):
    with pytest.raises(ValueError, match="split 'mixed' mixes questions with rows of other kinds"):
        Kinds(tokenizer, splits=["mixed"]).setup("validate")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Passage(" "), "empty"),
        (lambda: Passage("Rye.", window=1), "window=1 must be at least 2"),
        (lambda: MultipleChoice("Is it?", ["yes", "no"], 2), "answer=2 with 2 choices"),
        (lambda: MultipleChoice("Is it?", ["yes", "no"], -1), "answer=-1 with 2 choices"),
        (lambda: MultipleChoice("Is it?", ["yes"], 0), "with 1 choices"),
        (lambda: MultipleChoice("Is it?", ["yes", " "], 0), "empty"),
        (lambda: MultipleChoice(" ", ["yes", "no"], 0), "empty"),
    ],
)
def test_rows_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_text_of_one_token_has_nothing_to_score(tokenizer):
    with pytest.raises(ValueError, match=r"row 0 .* no token to score: 'M'"):
        Passage("M").examples(Kinds(tokenizer)._encoder, "row 0 of the split 'texts'")


def test_an_empty_continuation_is_refused(tokenizer):
    with pytest.raises(ValueError, match="answer in row 3 is empty"):
        Kinds(tokenizer)._encoder.completion("Maud", " ", "row 3")
