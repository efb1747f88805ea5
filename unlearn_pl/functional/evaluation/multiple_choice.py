"""Multiple-choice accuracy from the log-probability of every option's letter."""

import torch
from torch import Tensor


def chosen_options(logps: Tensor) -> Tensor:
    """``argmax_c log p_c``, the option that the model chooses; ties go to the first, as in lm-eval.

    Args:
        logps: ``[B, C]`` log-probability of the letter of every option; ``-inf`` where a question has fewer options.

    Returns:
        ``[B]`` int64; meaningless where a log-probability is NaN, see :func:`choice_correct`.

    Example:
        >>> chosen_options(torch.tensor([[-2.0, -1.0, -3.0], [-1.0, -1.0, -4.0]]))
        tensor([1, 0])
    """
    return logps.argmax(dim=-1)


def choice_correct(logps: Tensor, answers: Tensor) -> Tensor:
    """``argmax_c log p_c = answer``: whether each question is answered correctly.

    Args:
        logps: ``[B, C]`` log-probability of the letter of every option.
        answers: ``[B]`` index of the correct option, from 0.

    Returns:
        ``[B]`` fp64: 1 or 0, and NaN where a log-probability is NaN.

    Raises:
        ValueError: if an answer is not one of the options.

    Example:
        >>> choice_correct(torch.tensor([[-2.0, -1.0], [-1.0, -4.0]]), torch.tensor([1, 1]))
        tensor([1., 0.], dtype=torch.float64)
    """
    options = logps.shape[-1]
    if ((answers < 0) | (answers >= options)).any():
        raise ValueError(f"Correct answers must be from 0 to {options - 1}; got {sorted(set(answers.tolist()))}.")
    return (chosen_options(logps) == answers).double().masked_fill(logps.isnan().any(dim=-1), torch.nan)


def multiple_choice_accuracy(logps: Tensor, answers: Tensor) -> Tensor:
    """``mean_i correct_i``, the share of questions that are answered correctly.

    A model without knowledge scores ``1 / C`` if the answers are evenly spread over the options. A model whose letters
    are all equally likely always chooses the first, and scores the share of questions whose answer it is.

    Args:
        logps: ``[B, C]`` log-probability of the letter of every option.
        answers: ``[B]`` index of the correct option, from 0.

    Returns:
        ``[]`` fp64 in ``[0, 1]``; NaN without questions, or if a log-probability is NaN.

    Raises:
        ValueError: if an answer is not one of the options.
    """
    return choice_correct(logps, answers).mean()
