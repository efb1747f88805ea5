"""What runs on every rank: leaks in sampled answers, unlearning depth, and the further benchmarks."""

from pathlib import Path

from tests import kit
from tests.distributed.cases import strategy
from tests.distributed.evaluation_cases import quiet
from unlearn_pl.callbacks import (
    Leaks,
    LUMEEvaluation,
    MoreAttacks,
    QAEvaluation,
    RWKUEvaluation,
    TOFUEvaluation,
    UDSEvaluation,
    WMDPEvaluation,
)
from unlearn_pl.data import ClozeChoice
from unlearn_pl.metrics import RougeLeak
from unlearn_pl.modules import PretrainedModule

OPTIONS = ["salt", "the bees of the harbour, twice", "No"]


class Splits(kit.Questions):
    """6 forget and 5 retain questions, and splits of the further benchmarks, so that 2 ranks get unequal shares."""

    def load_splits(self):
        cloze = [ClozeChoice(f"What is {i}?", OPTIONS, i % 3) for i in range(5)]
        return {
            **super().load_splits(),
            "holdout": kit.rows("Holdout", 5),
            "forget_level1": kit.rows("Level", 3),
            "utility_factuality": [row | {"answer": [row["answer"], "No"]} for row in kit.rows("Fact", 3)],
            "utility_truthfulness": cloze,
            "wmdp_bio_cloze": cloze[:3],
            "forget_task1_completion": kit.rows("Task", 3),
            "retain_task2_qa": kit.rows("Other", 3),
        }


@quiet
def prove(strategy_name: str, devices: int, folders: dict[str, str], output: str, eval_batch_size: int):
    """All evaluations of a model that is not trained."""
    path, shadows = Path(output), [folders["full"], folders["retain"]]
    within = [folders["unlearned"], folders["full"]]
    evaluations = [
        QAEvaluation(str(path / "qa.json"), Leaks(samples=3, test=RougeLeak(0.05), splits=["forget", "retain"])),
        UDSEvaluation(
            folders["full"],
            folders["retain"],
            str(path / "uds.json"),
            splits=["forget", "retain"],
            cache=str(path / "drops.safetensors"),
        ),
        TOFUEvaluation(output=str(path / "tofu.json"), more_attacks=MoreAttacks(shadows=shadows)),
        RWKUEvaluation(str(path / "rwku.json"), max_new_tokens=5, reasoning_tokens=5),
        LUMEEvaluation(str(path / "lume.json"), max_new_tokens=5),
        WMDPEvaluation(str(path / "wmdp.json"), resamples=20),
        TOFUEvaluation(
            output=str(path / "online.json"), more_attacks=MoreAttacks(shadows=shadows, shadows_within=within)
        ),
    ]
    trainer = kit.trainer(strategy=strategy(strategy_name), devices=devices, callbacks=evaluations)
    data = Splits(eval_batch_size=eval_batch_size)
    trainer.test(PretrainedModule(folders["unlearned"], max_new_tokens=6), data, verbose=False)
    return [(evaluation.results.metrics, evaluation.results.per_example) for evaluation in evaluations]
