"""Many rows to forget, many requests one after another, and a long audit trail: CPU time and memory by their number."""

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch

from benchmarks.soak_memory import resident_mib
from benchmarks.tiny_run import data_module, make_trainer, rows, tokenizer
from unlearn_pl.callbacks import AuditTrail, RequestEvaluation, SavePretrained
from unlearn_pl.data import Request, SequentialRequests
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.modules import GradDiff, PretrainedModule
from unlearn_pl.results import append_to_trail, read_trail

ROWS_EACH = 4
"""Of a request."""


def many_rows(count: int) -> dict[str, float]:
    """Seconds and MiB until ``count`` rows to forget are ready, and milliseconds for the batches of a step."""
    before, begin = resident_mib(), time.process_time()
    data = data_module(rows("Oda", count), rows("Ivo", 100), streams=["forget", "retain"], splits=["forget"])
    data.setup("fit")
    ready = time.process_time() - begin
    begin, batches = time.process_time(), 0
    for _ in data.train_dataloader():
        batches += 1
        if batches == 100:
            break
    return {
        "rows": count,
        "seconds": ready,
        "mib": resident_mib() - before,
        "milliseconds": 1e3 * (time.process_time() - begin) / batches,
    }


def many_requests(count: int, base_rows: int, folder: Path) -> list[dict[str, float]]:
    """Carry out the requests; seconds, resident MiB, and bytes of the trail after each of them.

    Args:
        count: number of requests, each of ``ROWS_EACH`` rows.
        base_rows: rows of the forget set that they are about.
        folder: everything that is written lies there; the model of the last request only is kept.
    """
    torch.set_num_threads(1)
    target = folder / "target"
    save_pretrained(tiny_llama(len(tokenizer()), 16, num_layers=1, num_heads=2), str(target))
    tokenizer().save_pretrained(target)
    base = data_module(
        rows("Oda", max(base_rows, count * ROWS_EACH)), rows("Ivo", 40), splits=["retain"], max_eval_examples=2
    )
    requests = [Request(id=f"r{i}", rows=(i * ROWS_EACH, (i + 1) * ROWS_EACH)) for i in range(count)]
    data = SequentialRequests(base, requests, evaluate_earlier=False)
    trail = AuditTrail(str(folder / "trail.jsonl"))
    found = []
    for number, request in enumerate(requests):
        begin = time.process_time()
        carry_out(data.at(request["id"]), trail, target, folder)
        seconds = time.process_time() - begin
        gc.collect()  # what is left is held, and no garbage that Python has yet to find
        found.append(
            {
                "request": number,
                "seconds": seconds,
                "mib": resident_mib(),
                "trail": Path(trail.path).stat().st_size,
            }
        )
    assert not trail.open_requests(data), "requests are open although all were carried out"
    return found


def carry_out(data: SequentialRequests, trail: AuditTrail, target: Path, folder: Path) -> None:
    """Fit and test one request, on the model of the one before."""
    model, before = folder / data.request, trail.last_model()
    fitting, testing = (
        make_quiet(folder, [trail, callback])
        for callback in (SavePretrained(str(model)), RequestEvaluation(output=str(folder / "results.json")))
    )
    fitting.fit(GradDiff(before or str(target), 0.1), data)
    testing.test(PretrainedModule(str(model), max_new_tokens=1), data, verbose=False)


def make_quiet(folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """A trainer that takes one epoch and writes no checkpoints."""
    options = {"accelerator": "cpu", "max_epochs": 1, "limit_val_batches": 0, "enable_checkpointing": False}
    return make_trainer(folder, None, callbacks, **options)


def long_trail(lengths: Sequence[int], folder: Path) -> list[dict[str, float]]:
    """Milliseconds to verify a trail, and to append to it, by its number of lines."""
    found = []
    path = folder / "long.jsonl"
    written = 0
    template = {"event": "forgotten", "weights_before": "0" * 64, "weights_after": "1" * 64, "metrics": {"a": 0.5}}
    for length in lengths:
        for number in range(written, length):
            append_to_trail(path, {"request": f"r{number}", **template})
        written = length
        timings = []
        for _ in range(5):
            begin = time.process_time()
            assert len(read_trail(path)) == length
            timings.append(time.process_time() - begin)
        found.append({"lines": length, "milliseconds": 1e3 * min(timings), "bytes": path.stat().st_size})
    return found


def answer(request: dict[str, int]) -> dict[str, object]:
    """All of it, in this process."""
    rows_found = [many_rows(count) for count in (request["rows"] // 4, request["rows"])]
    with tempfile.TemporaryDirectory() as name:
        trails = long_trail([request["trail"] // 4, request["trail"]], Path(name))
        carried_out = many_requests(request["requests"], request["rows"], Path(name))
    return {"rows": rows_found, "trails": trails, "requests": carried_out}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(json.dumps(answer(json.loads(sys.argv[1]))))
