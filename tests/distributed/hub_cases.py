"""What runs on every rank: an upload on rank 0, for which the others wait."""

import time
import warnings
from pathlib import Path

import pytest

from tests import hub as hubs
from tests import kit
from tests.distributed.cases import strategy
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.callbacks.export.rank_zero import work_on_rank_zero
from unlearn_pl.modules import GradDiff


def upload(folder: str, failure: int | str | None, role: str = "write"):
    """Fit with an upload, then test; the address of the commit, warnings, what an error says, and what rank 0 did."""
    with pytest.MonkeyPatch.context() as patch, hubs.standing_in(patch, Path(folder) / "cache") as hub:
        hub.accounts = {"hf_secret": hubs.account(role=role)}
        if failure is not None:
            hub.failures["PUT /stored"] = failure
        save = SavePretrained(f"{folder}/hf", push_to_hub="maud/tarn")
        trainer = kit.trainer(max_steps=1, strategy=strategy("ddp"), devices=2, callbacks=[save], limit_test_batches=1)
        module, data = GradDiff(kit.model(), max_new_tokens=2), kit.Questions(batch_size=8, micro_batch_size=4)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                trainer.fit(module, data)
            except ValueError as error:
                return {"error": str(error), "requests": len(hub.log)}
            trainer.test(module, data, verbose=False)
        said = [str(warning.message) for warning in caught if "NOT uploaded" in str(warning.message)]
        files = {*hub.repositories["maud/tarn"].branches["main"]} if hub.repositories else set()
        return {
            "uploaded": save.uploaded,
            "said": said,
            "files": files,
            "written": {p.name for p in Path(folder, "hf").iterdir()},
        }


def wait(seconds: float):
    """Long work on rank 0 in short turns; what each rank gets, and how long it took."""
    trainer = kit.trainer(strategy=strategy("ddp"), devices=2)
    trainer.strategy.setup_environment()
    start = time.monotonic()
    result = work_on_rank_zero(trainer, lambda: time.sleep(seconds) or "done", seconds / 5)
    return result, time.monotonic() - start
