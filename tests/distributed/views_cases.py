"""Training on the worst of several views, on one process or on two ranks."""

from tests import kit
from tests.data.test_views import Seen, functions, module_of
from unlearn_pl.models import full_state_dict


def trained(strategy: str = "auto", devices: int = 1):
    """Choices of every step, and the weights."""
    data, seen = functions(candidates=3, period=2, eval_batch_size=5), Seen()
    data.micro_batch_size = 2 // devices
    module = module_of(data.tokenizer)
    trainer = kit.trainer(max_epochs=3, precision="64-true", strategy=strategy, devices=devices, callbacks=[seen])
    trainer.fit(module, data)
    return seen.choices, full_state_dict(module.model), seen.scored
