"""A damaged log of TOFU's authors."""

import json

import pytest

from unlearn_pl.metrics.tofu.files import LOG_NAMES, read_tofu_log


@pytest.mark.parametrize("loss", [[], [[1.0], []]], ids=["empty", "unequal"])
def test_a_value_of_another_shape_is_an_error_that_names_the_file(loss, tmp_path):
    log = {"avg_gt_loss": {"0": loss}, "average_perturb_loss": {"0": [1.0, loss]}, "avg_paraphrased_loss": {"0": 1.0}}
    path = tmp_path / "eval_log_aggregated.json"
    path.write_text(json.dumps({LOG_NAMES["forget"]: {**log, "rougeL_recall": {"0": 1.0}}}))
    with pytest.raises(ValueError, match=r"eval_log_aggregated\.json"):
        read_tofu_log(path)
