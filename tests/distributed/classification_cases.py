"""An evaluation of a classifier, on one process or on two ranks."""

from tests import kit
from tests.pictures import classifier, pictures
from unlearn_pl.callbacks import ClassificationEvaluation
from unlearn_pl.modules import PretrainedModule


def evaluated(folder, seed: int = 0, data=None, retain_results=None, **trainer_options) -> ClassificationEvaluation:
    """The evaluation of a classifier with random weights."""
    evaluation = ClassificationEvaluation(retain_results=retain_results, output=str(f"{folder}/results.json"))
    trainer = kit.trainer(callbacks=[evaluation], **trainer_options)
    trainer.test(PretrainedModule(classifier(seed=seed)), data or pictures(eval_batch_size=5), verbose=False)
    return evaluation


def on_two_ranks(folder: str) -> dict[str, float]:
    return dict(evaluated(folder, devices=2, strategy="ddp").results.metrics)
