"""Measures of a classifier's outputs: entropies per example, and membership from confidences."""

import torch
from torch import Tensor


def modified_entropy(logps: Tensor, labels: Tensor) -> Tensor:
    """``-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i)``: an entropy that is low only for right and sure answers.

    Args:
        logps: ``[B, C]`` log-probabilities of the classes.
        labels: ``[B]`` int64.

    Returns:
        ``[B]``, not negative; infinite where a wrong class has probability 1.

    References:
        Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, USENIX Security 2021,
        arXiv 2003.10595, equation 8. Each example with its own label; the code of Jia et al. (arXiv 2304.04934)
        overwrites the columns of all labels in every row.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1]], dtype=torch.float64)
        >>> [round(value, 4) for value in modified_entropy(p.log(), torch.tensor([0, 1])).tolist()]
        [0.0211, 4.1447]
    """
    probabilities = logps.exp()
    others = torch.log1p(-probabilities.clamp(max=1))  # log(1 - p)
    terms = torch.where(probabilities > 0, -probabilities * others, torch.zeros_like(logps))
    row = torch.arange(len(labels), device=labels.device)
    own, own_logp = probabilities[row, labels], logps[row, labels]
    right = torch.where(own < 1, -(1 - own) * own_logp, torch.zeros_like(own))
    mask = torch.ones_like(terms, dtype=torch.bool)
    mask[row, labels] = False
    return right + torch.where(mask, terms, torch.zeros_like(terms)).sum(dim=1)


def confidence_attack(members: Tensor, nonmembers: Tensor, targets: Tensor) -> float:
    """Share of ``targets`` that a support vector machine takes for non-members, by the probability of the true class.

    High where the targets look as if no model was trained on them.

    Args:
        members: ``[m]`` probabilities of the true class of examples that the model was trained on.
        nonmembers: ``[n]`` those of examples that it was not trained on.
        targets: ``[t]`` those of the examples in question.

    Raises:
        ValueError: if one of them is empty.
        ImportError: without scikit-learn.

    References:
        Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, arXiv 2304.04934: the MIA that the
        authors report, with ``SVC(C=3, gamma="auto", kernel="rbf")``.
    """
    if not (len(members) and len(nonmembers) and len(targets)):
        raise ValueError(
            f"There are {len(members)} members, {len(nonmembers)} non-members and {len(targets)} targets; accepted: at "
            "least one of each."
        )
    try:
        from sklearn.svm import SVC
    except ImportError as error:
        raise ImportError(
            "Membership from confidences needs scikit-learn: pip install 'unlearn-pl[vision]'."
        ) from error
    features = torch.cat([members, nonmembers]).double().cpu().unsqueeze(1).numpy()
    is_member = [1] * len(members) + [0] * len(nonmembers)
    machine = SVC(C=3, gamma="auto", kernel="rbf").fit(features, is_member)
    return float(1 - machine.predict(targets.double().cpu().unsqueeze(1).numpy()).mean())
