"""What runs on every rank: leaks in sampled answers, and unlearning depth."""

from pathlib import Path

from tests import kit
from tests.distributed.cases import strategy
from tests.distributed.evaluation_cases import quiet
from unlearn_pl.callbacks import Leaks, QAEvaluation, UDSEvaluation
from unlearn_pl.metrics import RougeLeak
from unlearn_pl.modules import PretrainedModule


@quiet
def prove(strategy_name: str, devices: int, folders: dict[str, str], output: str, eval_batch_size: int):
    """Both evaluations of a model that is not trained, on 6 forget questions."""
    path = Path(output)
    evaluations = [
        QAEvaluation(str(path / "qa.json"), Leaks(samples=3, test=RougeLeak(0.05), splits=["forget", "retain"])),
        UDSEvaluation(
            folders["full"],
            folders["retain"],
            str(path / "uds.json"),
            splits=["forget", "retain"],
            cache=str(path / "drops.safetensors"),
        ),
    ]
    trainer = kit.trainer(strategy=strategy(strategy_name), devices=devices, callbacks=evaluations)
    data = kit.Questions(eval_batch_size=eval_batch_size)
    trainer.test(PretrainedModule(folders["unlearned"], max_new_tokens=6), data, verbose=False)
    return [(evaluation.results.metrics, evaluation.results.per_example) for evaluation in evaluations]
