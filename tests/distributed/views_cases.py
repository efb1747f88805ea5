"""Training on the worst of several views, on one process or on two ranks."""

from tests import kit
from tests.data.test_views import Seen, functions, module_of
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import full_state_dict, tiny_llama
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, ContrastiveLoss, UnlearningCrossEntropyLoss


def trained(strategy: str = "auto", devices: int = 1):
    """Choices of every step, and the weights."""
    data, seen = functions(candidates=3, period=2, eval_batch_size=5), Seen()
    data.micro_batch_size = 2 // devices
    module = module_of(data.tokenizer)
    trainer = kit.trainer(max_epochs=3, precision="64-true", strategy=strategy, devices=devices, callbacks=[seen])
    trainer.fit(module, data)
    return seen.choices, full_state_dict(module.model), seen.scored


def contrasted(strategy: str = "auto", devices: int = 1):
    """Weights after training with micro-batches of two rows, the negatives of each other."""
    data = functions()
    data.batch_size = 4
    objectives = {"forget": UnlearningCrossEntropyLoss(), "contrast": ContrastiveLoss(1), "retain": CausalLMLoss()}
    module = UnlearningModule(tiny_llama(len(data.tokenizer), hidden_size=16), objectives, MinNorm())
    trainer = kit.trainer(max_epochs=3, precision="64-true", strategy=strategy, devices=devices)
    trainer.fit(module, data)
    return full_state_dict(module.model)
