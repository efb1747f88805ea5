"""Classes of rows that a classifier takes the anchors for."""

import torch

from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import Ranking, Selector
from unlearn_pl.data.selection.votes import by_votes


class LabelMapping(Selector):
    """Keeps the classes that a classifier of the rows gives to most anchors: LM of DP4TL.

    A logistic regression learns the class of the rows from their embeddings; every anchor votes for the class that it
    is given. Classes are kept from the one with most votes on, whole, until ``keep`` of the rows are reached; of the
    last one, the rows nearest to an anchor.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        label: column of the rows that holds their class, such as ``author``; None for the class that a classifier is
            trained on.
        fewest: keep the classes with the fewest votes instead.

    Raises:
        ValueError: if ``keep`` is out of its range; from :meth:`select`, if the rows have no such column, or one class.

    References:
        Zhang et al., Selectivity Drives Productivity: Efficient Dataset Pruning for Enhanced Transfer Learning, 2023,
        arXiv 2310.08782, section 4. The authors' classifier is a ResNet-18 trained on the source; here it is linear in
        the embeddings, so that rows without a trained classifier can be selected.
    """

    uses_features = uses_anchors = True

    def __init__(self, keep: float, label: str | None = None, fewest: bool = False) -> None:
        super().__init__(keep)
        self.label = label
        self.fewest = fewest

    @property
    def uses_model(self) -> bool:  # type: ignore[override]
        """Whether the classes are those that the model's view has."""
        return self.label is None

    def rank(self, pool: Pool) -> Ranking:
        """The rows by the votes of their classes."""
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError as error:
            raise ValueError("LabelMapping needs scikit-learn: pip install 'unlearn_pl[selection]'.") from error
        groups = pool.groups(self.label)
        if groups.max() == 0:
            raise ValueError(f"All rows have the same class as label={self.label!r}; accepted are at least two.")
        mean, deviation = pool.features.mean(dim=0), pool.features.std(dim=0).clamp(min=1e-6)
        rows, anchors = ((part - mean) / deviation for part in (pool.features, pool.anchors))
        classifier = LogisticRegression(max_iter=1000).fit(rows.double().numpy(), groups.numpy())
        choices = torch.from_numpy(classifier.predict(anchors.double().numpy()))
        return by_votes(pool, groups, choices.long(), self.fewest)
