"""Relearning against fine-tuning written by hand."""

import pytest
import torch

from tests.robustness.subjects import subject
from unlearn_pl.models import LoRA
from unlearn_pl.robustness import RandomFraction, Relearning, ShortestFraction

FORGET, SHOWN = "forget_probability", "shown_probability"


def encoded(given, row):
    """Token ids of a question and its answer, and the labels: the plain template, with the end of the text."""
    tokenizer = given.tokenizer
    prompt = tokenizer(f"Question: {row['question']}\nAnswer:")["input_ids"]
    ids = [*tokenizer(f"Question: {row['question']}\nAnswer: {row['answer']}")["input_ids"], tokenizer.eos_token_id]
    return torch.tensor([ids]), torch.tensor([[-100] * len(prompt) + ids[len(prompt) :]])


def probability(model, given, rows):
    """Mean over the rows of ``exp(mean log p)``; the loss of transformers is the mean of ``-log p``."""
    with torch.no_grad():
        losses = [model(input_ids=ids, labels=labels).loss for ids, labels in (encoded(given, row) for row in rows)]
    return torch.stack(losses).neg().exp().mean().item()


def test_the_curve_is_that_of_plain_fine_tuning(folder):
    given = subject(folder, seed=5)
    rows = given.data.facts.forget
    shown = RandomFraction(0.3).select(given).shown
    parts = {FORGET: [r for i, r in enumerate(rows) if i not in shown], SHOWN: [rows[i] for i in shown]}
    attack = Relearning(RandomFraction(0.3), steps=4, evaluate_every=2, learning_rate=1e-2, batch_size=3, answers=False)
    found = attack.run(given)

    model = given.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    expected = {name: [probability(model, given, part)] for name, part in parts.items()}
    for step in (1, 2, 3, 4):
        examples = [encoded(given, row) for row in parts[SHOWN]]  # the whole part is one batch
        total = sum((labels != -100).sum() for _, labels in examples)
        loss = sum(model(input_ids=i, labels=y).loss * (y != -100).sum() / total for i, y in examples)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 2 == 0:
            for name, part in parts.items():
                expected[name].append(probability(model, given, part))
    assert found.curve["step"] == [0, 2, 4]
    for name, values in expected.items():
        assert found.curve[name] == pytest.approx(values, rel=2e-4)
        assert found.before[name] == pytest.approx(values[0], rel=2e-4)
        assert found.after[name] == pytest.approx(values[-1], rel=2e-4)
    assert expected[SHOWN][-1] > 1.5 * expected[SHOWN][0]


def test_micro_batches_change_nothing_and_seeds_repeat(folder):
    def curve(**options):
        attack = Relearning(steps=2, evaluate_every=1, learning_rate=1e-2, answers=False, **options)
        return attack.run(subject(folder)).curve[FORGET]

    assert curve(batch_size=4) == curve(batch_size=4)
    assert curve(batch_size=4, micro_batch_size=2) == pytest.approx(curve(batch_size=4), rel=1e-4)


def test_adapters_learn_other_curves_than_weights(folder):
    options = {"steps": 20, "evaluate_every": 10, "learning_rate": 1e-2, "batch_size": 5, "answers": False}
    attack = Relearning(ShortestFraction(0.5), lora=LoRA(4), **options)
    found = attack.run(subject(folder))
    assert attack.name == "Relearning (shortest 50%, LoRA 4)"
    assert found.curve[SHOWN][0] < found.curve[SHOWN][1] < found.curve[SHOWN][2]
    assert attack.run(subject(folder)).curve == found.curve
    whole = Relearning(ShortestFraction(0.5), **options).run(subject(folder))
    assert whole.curve[SHOWN][0] == found.curve[SHOWN][0]
    assert whole.curve[SHOWN][1] > found.curve[SHOWN][1]


def test_answers_are_generated_before_and_after_and_limits_apply(folder):
    from tests.robustness.subjects import authors

    attack = Relearning(RandomFraction(0.4), steps=1, evaluate_every=1, batch_size=4)
    found = attack.run(subject(folder, data=authors(max_eval_examples=2)))
    assert {"forget_rouge", "shown_rouge"} <= found.before.keys() & found.after.keys()
    everything = RandomFraction(1.0)
    found = Relearning(everything, steps=1, evaluate_every=1, answers=False).run(subject(folder))
    assert FORGET not in found.after
    assert SHOWN in found.after


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 5, "evaluate_every": 2}, "evaluate_every=2"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Relearning(**options)
