import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from unlearn_pl.functional import choice_correct, chosen_options, multiple_choice_accuracy


def questions(count: int = 50, options: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logps = torch.log_softmax(torch.randn(count, options, generator=generator), dim=-1)
    return logps, torch.randint(options, (count,), generator=generator)


def test_it_is_the_share_of_right_answers():
    logps, answers = questions()
    chosen = np.argmax(logps.numpy(), axis=-1)
    assert chosen_options(logps).tolist() == chosen.tolist()
    assert choice_correct(logps, answers).tolist() == (chosen == answers.numpy()).astype(float).tolist()
    assert multiple_choice_accuracy(logps, answers).item() == pytest.approx(accuracy_score(answers.numpy(), chosen))


def test_order_of_questions_and_scale_do_not_matter():
    logps, answers = questions()
    correct = choice_correct(logps, answers)
    assert torch.equal(choice_correct(logps.flip(0), answers.flip(0)), correct.flip(0))
    assert torch.equal(choice_correct(logps * 0.1 - 3, answers), correct)


def test_equal_options_give_the_first_and_missing_ones_are_never_chosen():
    inf = math.inf
    logps = torch.tensor([[-1.0, -1.0, -1.0], [-3.0, -2.0, -inf], [-inf, -inf, -inf]])
    assert chosen_options(logps).tolist() == [0, 1, 0]
    assert choice_correct(logps, torch.tensor([1, 1, 0])).tolist() == [0, 1, 1]


def test_nan_and_no_questions():
    logps, answers = torch.tensor([[0.0, math.nan], [0.0, -1.0]]), torch.tensor([0, 0])
    assert choice_correct(logps, answers).tolist() == pytest.approx([math.nan, 1], nan_ok=True)
    assert multiple_choice_accuracy(logps, answers).isnan()
    assert multiple_choice_accuracy(torch.empty(0, 4), torch.empty(0, dtype=torch.int64)).isnan()


@pytest.mark.parametrize("answer", [-1, 2])
def test_answers_that_are_no_option_are_refused(answer):
    with pytest.raises(ValueError, match=rf"from 0 to 1; got \[{answer}\]"):
        choice_correct(torch.zeros(1, 2), torch.tensor([answer]))
