"""FSDP2 as ``Trainer(strategy="fsdp2")``."""

from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry

from unlearn_pl.modules.checkpoints.sharded import save_whole
from unlearn_pl.modules.lightning_internals import set_data_parallel_size, writes_folders


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

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """See Lightning's class; a folder takes its name when all ranks have written it, with a digest of each file."""
        save = super().save_checkpoint
        if not writes_folders(self):
            save(checkpoint, filepath, storage_options)
            return
        path = Path(self.broadcast(filepath))
        save_whole(self, path, lambda folder: save(checkpoint, folder, storage_options))


def register() -> None:
    """Register ``strategy="fsdp2"`` with Lightning's Trainer."""
    if "fsdp2" not in StrategyRegistry:
        StrategyRegistry.register("fsdp2", FSDP2Strategy, description="FSDP2 over all devices")
