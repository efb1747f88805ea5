"""The two evaluations that the benchmark compares give the same numbers."""

import pytest

from benchmarks import evaluation_speed as speed
from unlearn_pl.models import tiny_llama, train_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
    pytest.mark.filterwarnings("ignore:privleak compares with chance"),
]


def test_both_ways_give_the_same_numbers(monkeypatch):
    monkeypatch.setattr(speed, "MAX_NEW_TOKENS", 6)
    rows = {name: split[:4] for name, split in speed.made_up(10).items()}
    tokenizer = train_tokenizer([row["answer"] for split in rows.values() for row in split], 320)
    data = speed.Splits(rows, [], tokenizer, batch_size=3)
    model = tiny_llama(len(tokenizer), 16, 1, num_heads=2, max_position_embeddings=512).double().eval()
    _, mine = speed.ours(model, data)
    _, others, tokens = speed.theirs(model, data, batch_size=3)
    count, difference = speed.largest_difference(mine, others)
    assert count == 4 * sum(map(len, speed.METRICS.values()))
    assert difference < 1e-5  # the straightforward way computes in fp32
    answers = [a for split in rows.values() for r in split for a in (r["answer"], *r["perturbed_answer"])]
    assert tokens > len(answers)
    others["forget"]["loss"][2] += 0.5
    assert speed.largest_difference(mine, others)[1] > 0.01
