"""Contracts of a graph: what hangs together, unique facts, and mixed prompts made of them."""

import pytest

from unlearn_pl.data import MixedPrompts, SyntheticContracts, SyntheticContractsDataModule, TextDataModule


def test_the_graph():
    facts = SyntheticContracts(seed=3, companies=4, employees=2)
    assert len(facts.contracts) == 4 * 3 // 2 + 4 * 2
    edge = next(iter(facts.contracts))
    linked = facts.linked_to([edge])
    assert edge not in linked
    assert all(set(other) & set(edge) for other in linked)
    assert len(linked) == 2 * 2 + 2 * 2  # the other trades of both companies, and their employees
    assert facts.contracts == SyntheticContracts(seed=3).contracts != SyntheticContracts(seed=4).contracts
    for rows in facts.contracts.values():
        assert len(rows) == 6
        assert all(row["answer"].count(row["span"]) == 1 and row["span"] not in row["question"] for row in rows)


def test_streams_and_splits():
    data = SyntheticContractsDataModule(forget_contracts=2, streams=["forget", "retain", "train", "forget.alternate"])
    data.setup(None)
    splits = {name: [row.content() for row in data.evaluation_rows(name)] for name in data.load_splits()}
    assert len(splits["forget"]) == 12
    assert sorted(splits["retain_linked"] + splits["retain_apart"]) == sorted(splits["retain"])
    assert not set(splits["forget"]) & set(splits["retain"])
    assert len(data._training["train"]) == len(splits["forget"]) + len(splits["retain"])
    retained = SyntheticContractsDataModule(forget_contracts=2, train_split="retain", streams=["train"])
    retained.setup("fit")
    assert len(retained._training["train"]) == len(splits["retain"])
    whole = SyntheticContractsDataModule(companies=2, employees=0 + 1)  # everybody is linked
    assert whole.load_splits().keys() == {"forget", "retain", "retain_linked"}


@pytest.mark.parametrize(
    "options",
    [{"companies": 1}, {"employees": 9}, {"forget_contracts": 0}, {"forget_contracts": 14}, {"train_split": "half"}],
)
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SyntheticContractsDataModule(**options)


def test_mixed_prompts_ask_both_and_expect_one_each():
    data = MixedPrompts(SyntheticContractsDataModule())
    data.setup("test")
    forget, retain = data.evaluation_rows("mixed_forget"), data.evaluation_rows("mixed_retain")
    questions = {q.asked(): q.expected() for q in data.evaluation_rows("retain")}
    for number, (row, a, b) in enumerate(zip(data.evaluation_rows("forget"), forget, retain, strict=True)):
        assert a.asked() == b.asked()
        assert a.expected() == row.expected()
        other = a.asked().replace(row.asked(), "").strip()
        assert questions[other] == b.expected()
        assert a.asked().startswith(row.asked() if number % 2 == 0 else other)
    assert len({row.expected() for row in retain}) == len(retain)
    again = MixedPrompts(SyntheticContractsDataModule(), pairs_seed=1)
    again.setup("test")
    assert [r.asked() for r in again.evaluation_rows("mixed_forget")] != [r.asked() for r in forget]
    assert data.load_streams().keys() == data.data.load_streams().keys()


def test_mixed_prompts_need_two_splits_of_questions():
    with pytest.raises(ValueError, match="both 'forget'"):
        MixedPrompts(SyntheticContractsDataModule(), retain="forget")
    with pytest.raises(ValueError, match="needs the split 'nobody'"):
        MixedPrompts(SyntheticContractsDataModule(), retain="nobody").setup("test")
    tokenizer = SyntheticContractsDataModule().tokenizer
    texts = TextDataModule(tokenizer, forget=[{"text": "A mill."}], retain=[{"text": "A forge."}])
    with pytest.raises(ValueError, match="other rows"):
        MixedPrompts(texts).setup("test")
