"""Sites and names of rewritten programs, chosen by gradients of a relaxed problem."""

import random
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearn_pl.code import CodeTransform, Program, Site
from unlearn_pl.code.words import fresh_words
from unlearn_pl.data import CodeCompletion, Encoder, EvaluationRow, Example

Named = tuple[CodeCompletion, Example]


class GradientSearch:
    """For every site, the new name under which the model gives the answer the highest probability, to first order.

    The name is relaxed to a point ``u`` of the simplex over candidate names, whose embeddings it averages; ``u`` takes
    ``steps`` projected steps of ascent on the answer's log-probability, and the largest entry is chosen. At the corners
    of the simplex the relaxation is exact. Only names of equally many tokens are mixed: the most frequent number.

    Args:
        transforms: those without a new name are left out.
        sites: sites per row that are tried, drawn at random.
        steps: projected steps.
        step_size: length of a step, in the simplex.

    References:
        Jia et al., CLAWSAT, SANER 2023, arXiv 2211.11709, equation 1 (one-hot relaxation, projected gradient), with one
        site per program, all of which are tried.
    """

    def __init__(
        self, transforms: Sequence[CodeTransform], sites: int = 16, steps: int = 3, step_size: float = 1.0
    ) -> None:
        self.transforms = [transform for transform in transforms if transform.takes_word]
        self.sites, self.steps, self.step_size = sites, steps, step_size

    def views(
        self, row: CodeCompletion, model: nn.Module, encoder: Encoder, device: torch.device, rng: random.Random
    ) -> list[EvaluationRow]:
        """One view per site, with the chosen name.

        Args:
            row: a part of a program.
            model: a Hugging Face model in evaluation mode.
            encoder: tokenizes.
            device: the model's.
            rng: draws the sites.
        """
        program = Program.parse(row.program)
        if program is None:
            return []
        sites = [(transform, site) for transform in self.transforms for site in transform.sites(program)]
        words = fresh_words(program.words)
        found: list[EvaluationRow] = []
        for transform, site in rng.sample(sites, len(sites)):
            named = _named(row, program, transform, site, words, encoder)
            if named:
                found.append(self._best(named, model, device))
            if len(found) == self.sites:
                break
        return found

    def _best(self, named: Sequence[Named], model: nn.Module, device: torch.device) -> EvaluationRow:
        ids = torch.tensor([example.input_ids for _, example in named], device=device)
        labels = torch.tensor(named[0][1].labels, device=device)
        u = torch.full([len(named)], 1 / len(named), device=device)
        for _ in range(self.steps):
            u.requires_grad_()
            (gradient,) = torch.autograd.grad(relaxed_log_probability(model, u, ids, labels), u)
            with torch.no_grad():
                u = onto_simplex(u + self.step_size * gradient / gradient.norm().clamp(min=1e-12))
        return named[int(u.argmax())][0]


def _named(
    row: CodeCompletion,
    program: Program,
    transform: CodeTransform,
    site: Site,
    words: Sequence[str],
    encoder: Encoder,
) -> list[Named]:
    """The views of one site under every name, those of the most frequent length with the same labels."""
    by_length: dict[tuple[int, int], list[Named]] = defaultdict(list)
    for word in words:
        rewritten = transform.rewrite(program, site, word)
        view = None if rewritten is None else row.within(rewritten)
        if view is not None and view.answer == row.answer:
            (example,) = view.examples(encoder, "a view")
            by_length[len(example), example.prompt_length].append((view, example))
    return max(by_length.values(), key=len, default=[])


def relaxed_log_probability(model: nn.Module, u: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean log-probability of the labels where the input is a mixture of W sequences.

    Args:
        model: a Hugging Face model.
        u: ``[W]`` weights of the sequences, which add up to 1.
        ids: ``[W, T]`` their tokens.
        labels: ``[T]``, -100 where not scored; the same for all sequences.

    Returns:
        ``[]``; at a corner of the simplex that of the sequence itself.
    """
    embeddings = model.get_input_embeddings()(ids)  # type: ignore[operator]
    mixed = torch.einsum("w,wtd->td", u.to(embeddings.dtype), embeddings).unsqueeze(0)
    logits = model(inputs_embeds=mixed).logits[0, :-1]
    return -F.cross_entropy(logits.float(), labels[1:], ignore_index=-100)


def onto_simplex(point: Tensor) -> Tensor:
    """The nearest point ``[n]`` with entries that are not negative and add up to 1.

    Args:
        point: ``[n]``.

    References:
        Duchi et al., Efficient Projections onto the l1-Ball, ICML 2008, figure 1.
    """
    ordered = point.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(point) + 1, device=point.device)
    count = (ordered > excess).sum()
    return (point - excess[count - 1]).clamp(min=0)
