"""FSDP2 as ``Trainer(strategy="fsdp2")``."""

from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry

from unlearn_pl.modules.lightning_internals import set_data_parallel_size


class FSDP2Strategy(ModelParallelStrategy):
    """Shards parameters, gradients and optimizer state over all devices of all nodes.

    Lightning's ``ModelParallelStrategy`` splits a node by tensor parallelism unless told otherwise; here "auto"
    means data parallelism everywhere.

    Args:
        save_distributed_checkpoint: False writes one file instead of one per rank.

    Raises:
        ValueError: if sizes of the mesh are given, which would mean tensor parallelism or replicated shards (HSDP).
    """

    strategy_name = "fsdp2"

    def __init__(self, save_distributed_checkpoint: bool = True, **kwargs: Any) -> None:
        sizes = {name: kwargs.pop(name) for name in ("data_parallel_size", "tensor_parallel_size") if name in kwargs}
        if sizes.get("tensor_parallel_size", 1) not in (1, "auto") or sizes.get("data_parallel_size", "auto") != "auto":
            raise ValueError(
                f"FSDP2Strategy was given {sizes}, but shards over all devices: tensor parallelism and replicated "
                "shards (HSDP) are not supported, because a Gramian would count what ranks share more than once. Omit "
                "the sizes. If the model fits on one device, use strategy='ddp'."
            )
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=save_distributed_checkpoint, **kwargs)

    def setup_environment(self) -> None:
        """Set the size of the mesh, which is not known earlier."""
        set_data_parallel_size(self, self.num_nodes * self.num_processes)
        super().setup_environment()


def register() -> None:
    """Register ``strategy="fsdp2"`` with Lightning's Trainer."""
    if "fsdp2" not in StrategyRegistry:
        StrategyRegistry.register("fsdp2", FSDP2Strategy, description="FSDP2 over all devices")
