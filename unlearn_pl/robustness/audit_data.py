"""Data module for a single attack: evaluation splits and, for relearning, a training stream."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data import EvaluationRow, StreamSource, UnlearningDataModule

STREAM = "relearn"
"""The only training stream."""


class AuditData(UnlearningDataModule):
    """Any rows, formatted and truncated like those of another data module.

    Args:
        tokenizer: tokenizer of the model under attack.
        like: data module with the template, lengths and evaluation sizes to use.
        rows: evaluation split to its rows.
        relearn: the training stream; None for evaluation only.
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward.
        seed: random seed of the training order.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        like: UnlearningDataModule,
        rows: Mapping[str, Sequence[EvaluationRow]],
        relearn: StreamSource | None = None,
        batch_size: int = 1,
        micro_batch_size: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            tokenizer,
            streams=[STREAM],
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            eval_batch_size=like.eval_batch_size,
            template=like.template,
            max_length=like.max_length,
            truncate=like.truncate,
            seed=seed,
        )
        self.rows = rows
        self.relearn = relearn

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The training stream, if there is one."""
        return {} if self.relearn is None else {STREAM: self.relearn}

    def load_splits(self) -> Mapping[str, Sequence[EvaluationRow]]:
        """The rows, by split."""
        return self.rows
