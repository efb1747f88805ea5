"""Construction of the ``ReferenceContext`` that is passed to ``Reference.prepare``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from torch import nn

from unlearn_pl.engine import stream_needs
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.num_steps import steps_shown
from unlearn_pl.references import ReferenceContext, StreamExamples
from unlearn_pl.references.context import TokenExample
from unlearn_pl.types import StreamProvider


def reference_context(module: FittedModule, build: Callable[[], nn.Module], is_original: bool) -> ReferenceContext:
    """The context of ``Reference.prepare`` inside ``Trainer.fit``.

    Args:
        module: the module that is being fitted, with its model.
        build: builds a model with the original weights.
        is_original: whether the module's model has the original weights at this moment.
    """
    trainer, data = module.trainer, module.stream_data
    assert module.model is not None
    return ReferenceContext(
        model=module.model,
        build=build,
        forward=module.spec.forward,
        is_original=is_original,
        needs=stream_needs(module.objectives, module.descent.goals.goals),
        examples=None if data is None else _examples_of(data, module),
        batch_size=1 if data is None else data.micro_batch_size,
        device=trainer.strategy.root_device,
        folder=Path(trainer.default_root_dir) / "reference",
        precision=str(trainer.precision),
        autocast=trainer.precision_plugin.forward_context,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )


def _examples_of(data: StreamProvider, module: FittedModule) -> Callable[[str], StreamExamples]:
    def examples(stream: str) -> StreamExamples:
        shown = cast(Sequence[TokenExample], data.training_examples(stream, steps_shown(module)))
        return StreamExamples(data.stream_fingerprint(stream), shown)

    return examples
