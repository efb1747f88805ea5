"""Other prompts: what is asked, what is scored, and what is drawn."""

import json
import statistics

import pytest
import torch

from tests.robustness.attacks.test_relearning import encoded, probability
from tests.robustness.subjects import authors, subject
from unlearn_pl.data import MUSEDataModule, Row, TextDataModule
from unlearn_pl.functional import rouge_l_recall
from unlearn_pl.robustness import (
    DataSetParaphrases,
    FewShotPrompts,
    ModelParaphrases,
    ParaphrasedPrompts,
    PrefixAttack,
    RuleBasedRewrites,
    SampledAnswers,
    Subject,
    Unattacked,
)
from unlearn_pl.robustness.attacks.sampled_answers import sample_statistics


def asked(given, attack) -> list[str]:
    """The prompts, as text."""
    return [given.tokenizer.decode(row.prompt(given.encoder)) for row in attack.rows(given)]


def test_unattacked_means_are_those_of_the_model(folder):
    given = subject(folder)
    model = given.build()
    found = Unattacked().run(given).after
    for split in ("forget", "retain"):
        rows = getattr(given.data.facts, split)
        assert found[f"{split}_probability"] == pytest.approx(probability(model, given, rows), rel=1e-4)
        assert 0 <= found[f"{split}_rouge"] <= 1


def test_paraphrases_of_the_data_keep_the_answers(folder):
    given = subject(folder)
    attack = ParaphrasedPrompts()
    attack.check(given)
    rows = given.data.facts.forget
    assert asked(given, attack) == [f"Question: {row['paraphrased_question']}\nAnswer:" for row in rows]
    assert [row.expected() for row in attack.rows(given)] == [row["answer"] for row in rows]
    assert attack.name == "ParaphrasedPrompts (data set)"
    other = [{**row, "question": row["paraphrased_question"]} for row in rows]
    found = attack.run(given).after["forget_probability"]
    assert found == pytest.approx(probability(given.build(), given, other), rel=1e-4)


def test_missing_paraphrases_are_refused_and_rules_are_labeled(folder, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"Why {x}?", "answer": f"Because of {x}."}) + "\n" for x in "abcde")
    )
    given = subject(folder, data=TextDataModule(forget=str(path)), retain_split=None)
    with pytest.raises(ValueError, match="5 of 5 questions have no paraphrased_question"):
        ParaphrasedPrompts().check(given)
    attack = ParaphrasedPrompts(RuleBasedRewrites())
    attack.check(given)
    assert attack.name == "ParaphrasedPrompts (rule-based)"
    prompts = asked(given, attack)
    assert all(f"Why {x}?" in prompt for x, prompt in zip("abcde", prompts, strict=True))
    assert len({prompt.replace(f"Why {x}?", "") for x, prompt in zip("abcde", prompts, strict=True)}) == 4
    talk = [Row(question=[{"role": "user", "content": "Why?"}], answer="So.")]
    with pytest.raises(ValueError, match="conversations"):
        RuleBasedRewrites().check(talk)
    with pytest.raises(ValueError, match="ModelParaphrases rewrites questions of plain text"):
        ModelParaphrases(folder).check(talk)


def test_a_model_writes_paraphrases_once_for_all_models(folder):
    given = subject(folder, data=authors(max_eval_examples=3))
    by_model = ModelParaphrases(folder, instruction="Say it again: {}", max_new_tokens=5)
    attack = ParaphrasedPrompts(by_model)
    attack.check(given)
    first = asked(given, attack)
    questions = [row["question"] for row in given.data.facts.forget[:3]]
    model = given.build().eval()
    for question, prompt in zip(questions, first, strict=True):
        ids = torch.tensor([given.tokenizer(f"Question: Say it again: {question}\nAnswer:")["input_ids"]])
        written = model.generate(ids, max_new_tokens=5, do_sample=False)[0, ids.shape[1] :]
        text = given.tokenizer.decode(written, skip_special_tokens=True).split("\n")[0].strip()
        assert prompt == f"Question: {text or question}\nAnswer:"
    by_model.model = "nowhere"  # what is known is not asked again
    assert asked(given, attack) == first
    with pytest.raises(ValueError, match=r"has no \{\}"):
        ModelParaphrases(folder, instruction="Say it again")


def test_shots_are_retain_questions_with_answers(folder):
    given = subject(folder, seed=3)
    attack = FewShotPrompts(shots=2)
    attack.check(given)
    facts = given.data.facts
    shots = {f"Question: {row['question']}\nAnswer: {row['answer']}" for row in facts.retain}
    prompts = asked(given, attack)
    for row, prompt in zip(facts.forget, prompts, strict=True):
        *before, last = prompt.split("\n\n")
        assert last == f"Question: {row['question']}\nAnswer:"
        assert len(before) == len(set(before)) == 2
        assert set(before) <= shots
    assert asked(subject(folder, seed=3), attack) == prompts
    assert asked(subject(folder, seed=4), attack) != prompts
    with pytest.raises(ValueError, match="shots=11, but the retain split has 10"):
        FewShotPrompts(11).check(given)
    with pytest.raises(ValueError, match="kind \\['none'\\]"):
        FewShotPrompts(1).check(subject(folder, retain_split=None))
    with pytest.raises(ValueError, match="shots=0"):
        FewShotPrompts(0)


@pytest.mark.parametrize(
    ("options", "given_of"), [({"fraction": 0.25}, lambda n: max(1, n // 4)), ({"tokens": 3}, lambda n: 3)]
)
def test_prefixes_give_the_first_tokens_and_score_the_rest(folder, options, given_of):
    given = subject(folder)
    attack = PrefixAttack(**options)
    attack.check(given)
    model, losses = given.build(), []
    for source, row in zip(given.data.facts.forget, attack.rows(given), strict=True):
        ids, labels = encoded(given, source)
        start = int((labels == -100).sum())
        begin = start + given_of(len(ids[0]) - start)
        assert row.prompt(given.encoder) == ids[0, :begin].tolist()
        assert row.expected() == given.tokenizer.decode(ids[0, begin:-1]).strip()
        labels[:, :begin] = -100
        with torch.no_grad():
            losses.append(model(input_ids=ids, labels=labels).loss)
    found = attack.run(given).after
    assert found["forget_probability"] == pytest.approx(torch.stack(losses).neg().exp().mean().item(), rel=1e-4)


def test_prefixes_of_passages_continue_them(folder, tmp_path):
    path = tmp_path / "verbmem"
    path.mkdir()
    rows = [
        {"prompt": "The lighthouse of Tarn stood", "gt": f"on a cliff above the {sea} sea."}
        for sea in ("northern", "old")
    ]
    (path / "forget.json").write_text(json.dumps(rows))
    data = MUSEDataModule(path=str(tmp_path), eval_batch_size=2)
    given = subject(folder, data=data, forget_split="verbmem_forget", retain_split=None)
    found = PrefixAttack(0.5).run(given).after
    assert found.keys() == {
        f"forget_{s}" for s in ("probability", "exact_memorization", "extraction_strength", "rouge")
    }
    prompt = asked(given, PrefixAttack(0.5))[0]
    assert prompt.startswith("The lighthouse of Tarn stood on a")
    assert (prompt + " " + PrefixAttack(0.5).rows(given)[0].expected()).replace(" ", "") == (
        "The lighthouse of Tarn stood on a cliff above the northern sea.".replace(" ", "")
    )
    with pytest.raises(ValueError, match=r"needs rows with a question and an answer.*'Completion'"):
        ParaphrasedPrompts().check(given)


def test_prefixes_that_leave_nothing_are_refused(folder):
    with pytest.raises(ValueError, match=r"leaves no rest of any answer: the longest has \d+ tokens"):
        PrefixAttack(tokens=10_000).check(subject(folder))
    for options in ({"fraction": 0.0}, {"fraction": 1.0}, {"tokens": 0}):
        with pytest.raises(ValueError, match="accepted is"):
            PrefixAttack(**options)


def test_statistics_of_samples_are_those_of_each_question():
    scores = [0.1, 0.9, 0.5, 0.0, 0.0, 0.3]
    found = sample_statistics(scores, samples=3)
    assert found["forget_rouge"] == pytest.approx(sum(scores) / 6)
    assert found["forget_rouge_best"] == pytest.approx((0.9 + 0.3) / 2)
    spreads = [statistics.pstdev(scores[:3]), statistics.pstdev(scores[3:])]
    assert found["forget_rouge_std"] == pytest.approx(sum(spreads) / 2)


def test_cold_samples_are_the_greedy_answers(folder):
    given = subject(folder, data=authors(max_eval_examples=4), max_new_tokens=8)
    cold = SampledAnswers(samples=2, temperature=1e-4).run(given).after
    model = given.build().eval()
    scores = []
    for row in given.data.facts.forget[:4]:
        ids = torch.tensor([given.tokenizer(f"Question: {row['question']}\nAnswer:")["input_ids"]])
        written = model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
        scores.append(rouge_l_recall(row["answer"], given.tokenizer.decode(written, skip_special_tokens=True)))
    assert cold["forget_rouge"] == cold["forget_rouge_best"] == pytest.approx(sum(scores) / 4)
    assert cold["forget_rouge_std"] == 0


def test_warm_samples_differ_and_repeat_with_the_seed(folder):
    data = authors(max_eval_examples=3)
    run = {seed: SampledAnswers(6, temperature=2.0).run(subject(folder, data=data, seed=seed)).after for seed in (0, 1)}
    assert SampledAnswers(6, temperature=2.0).run(subject(folder, data=data, seed=1)).after == run[1]
    assert run[0] != run[1]
    assert run[0]["forget_rouge_best"] >= run[0]["forget_rouge"]


def test_what_is_missing_or_impossible_is_named(tmp_path, folder):
    with pytest.raises(ValueError, match="There is no model in"):
        subject(str(tmp_path / "nowhere")).check()
    with pytest.raises(ValueError, match="no split 'remember'; accepted are forget, retain"):
        subject(folder, forget_split="remember").check()
    bare = tmp_path / "bare"
    subject(folder).build().save_pretrained(bare)
    with pytest.raises(ValueError, match="There is no tokenizer in"):
        Subject(str(bare), authors()).check()
    for options, message in (({"temperature": 0.0}, "temperature=0.0"), ({"top_p": 0.0}, "top_p=0.0")):
        with pytest.raises(ValueError, match=message):
            SampledAnswers(**options)
    with pytest.raises(ValueError, match="samples=0"):
        SampledAnswers(0)
    assert DataSetParaphrases().name == "data set"


def test_samples_of_texts_that_ask_nothing_are_refused(folder, tmp_path):
    (tmp_path / "texts.txt").write_text("A short text about cats.\nA longer text about very many dogs.\n")
    given = subject(folder, data=TextDataModule(forget=str(tmp_path / "texts.txt")), retain_split=None)
    with pytest.raises(ValueError, match=r"SampledAnswers \(2 at 1\) needs rows with answers.*kind \['Passage'\]"):
        SampledAnswers(2).check(given)
