import torch

from unlearn_pl.data import ChatTemplate, Example, Prompt, collate_examples, collate_prompts, encode

PAD = 9


def test_examples_are_padded_at_the_right():
    batch = collate_examples([Example([5, 6, 7, 1], 2, index=30), Example([5, 1], 1, index=4)], PAD)

    assert batch["input_ids"].tolist() == [[5, 6, 7, 1], [5, 1, PAD, PAD]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 7, 1], [-100, 1, -100, -100]]
    assert batch["index"].tolist() == [30, 4]
    assert "choice" not in batch
    assert all(batch[key].dtype == torch.long for key in batch)


def test_candidates_say_which_answer_they_hold():
    batch = collate_examples([Example([5, 1], 1, choice=0), Example([6, 1], 1, choice=3)], PAD)

    assert batch["choice"].tolist() == [0, 3]


def test_prompts_are_padded_at_the_left():
    batch = collate_prompts([Prompt([5, 6], 0, "yes"), Prompt([7, 8, 5, 6], 2, "no")], PAD)

    assert batch["prompt_ids"].tolist() == [[PAD, PAD, 5, 6], [7, 8, 5, 6]]
    assert batch["prompt_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert batch["index"].tolist() == [0, 2]
    assert batch["answer"] == ["yes", "no"]


def test_real_ends_of_turns_stay_visible_when_padding_uses_their_token(word_tokenizer):
    tokenizer = word_tokenizer(pad_token="<end>")
    pairs = [("who keeps the mill ?", "maud does"), ("who ?", "maud ferrier does , since spring")]
    examples = [encode(tokenizer, ChatTemplate("be brief"), *pair) for pair in pairs]

    batch = collate_examples(examples, tokenizer.pad_token_id)

    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1
    assert batch["attention_mask"].sum(1).tolist() == [12 + 3, 9 + 7]
    # Three ends of turns are real and attended to; that of the answer is scored, the padding is not.
    for row, length, prompt in zip(range(2), (15, 16), (12, 9), strict=True):
        real = batch["attention_mask"][row] == 1
        assert (batch["input_ids"][row][real] == 1).sum() == 3
        assert batch["labels"][row, length - 1] == 1
        assert (batch["labels"][row] != -100).sum() == length - prompt


def test_drafts_are_padded_on_the_right():
    batch = collate_prompts([Prompt([5], 0, "yes", [7, 8, 9]), Prompt([5, 6], 1, "no")], PAD)
    assert batch["draft_ids"].tolist() == [[7, 8, 9], [PAD] * 3]
    assert batch["draft_mask"].tolist() == [[1, 1, 1], [0, 0, 0]]
    without = collate_prompts([Prompt([5], 0, "yes")], PAD)
    assert without["draft_ids"].shape == (1, 0)
    assert without["draft_ids"].dtype == torch.long
