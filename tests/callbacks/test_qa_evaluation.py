"""Metrics of own questions, under a neutral name and without TOFU's warnings."""

import math

import pytest

from tests import kit
from unlearn_pl.callbacks import ProgressBar, QAEvaluation
from unlearn_pl.modules import GradDiff, PretrainedModule
from unlearn_pl.report import compare_results, comparison_text


class Own(kit.Questions):
    """A split of the user's own beside the two sets."""

    def load_splits(self):
        return {**super().load_splits(), "colleagues": kit.rows("Colleague", 3)}


def test_every_split_has_its_metrics_and_no_warning(tmp_path):
    evaluation = QAEvaluation(output=str(tmp_path / "results.json"))
    module = PretrainedModule(kit.model(), max_new_tokens=4)
    kit.trainer(callbacks=[evaluation]).test(module, Own(), verbose=False)  # warnings are errors
    scores = ("probability", "exact_memorization", "extraction_strength", "rouge")
    metrics = evaluation.results.metrics
    assert set(metrics) == {f"{split}_{score}" for split in ("forget", "retain", "colleagues") for score in scores}
    assert all(0 <= value <= 1 for value in metrics.values())
    assert evaluation.results.benchmark == "qa"
    values = evaluation.results.per_example["colleagues"]["probability"]
    assert metrics["colleagues_probability"] == pytest.approx(math.fsum(values.values()) / 3)
    comparison = compare_results({"a": evaluation.results, "b": evaluation.results}, {}, resamples=10)
    assert "colleagues_rouge" in comparison_text(comparison)


def test_before_is_kept_and_not_logged():
    evaluation = QAEvaluation()
    trainer = kit.trainer(max_epochs=1, limit_val_batches=1.0, num_sanity_val_steps=-1, callbacks=[evaluation])
    trainer.fit(GradDiff(kit.model()), Own(batch_size=8, micro_batch_size=4))
    assert evaluation.before["forget_probability"] != evaluation.after["forget_probability"]
    assert trainer.callback_metrics["val/qa/forget_probability"] == evaluation.after["forget_probability"]


def test_a_part_of_the_questions_is_not_before():
    evaluation = QAEvaluation()
    trainer = kit.trainer(max_steps=1, limit_val_batches=1.0, num_sanity_val_steps=1, callbacks=[evaluation])
    trainer.fit(GradDiff(kit.model()), Own(batch_size=8, micro_batch_size=4))
    assert evaluation.before is None


def test_the_progress_bar_fits_in_80_characters(capsys):
    bar = ProgressBar()
    trainer = kit.trainer(max_epochs=1, enable_progress_bar=True, callbacks=[bar])
    trainer.fit(GradDiff(kit.model()), Own(batch_size=4, micro_batch_size=4))
    written = capsys.readouterr()
    lines = [line for line in (written.out + written.err).replace("\r", "\n").splitlines() if "Epoch" in line]
    assert max(map(len, lines)) <= 80
    assert all(f"{name}=" in lines[-1] for name in ("forget", "retain"))
    assert "train/loss" not in lines[-1]
