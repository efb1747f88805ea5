"""The bytes that two ranks exchange are those of the formulas in benchmarks/README.md, to the last one."""

import pytest
import torch

from benchmarks.communication import COMBINERS, RUNS, bytes_of_facts, measured, predicted
from benchmarks.step_cost_task import Task
from unlearn_pl.engine import Descent, LocalRuntime
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss


@pytest.mark.slow
@pytest.mark.parametrize("run", [run for run in RUNS if run[2] > 1], ids=str)
def test_bytes_of_a_step_are_the_predicted_ones(run):
    assert measured(*run)["bytes"] == predicted(*run)


def test_one_rank_is_predicted_to_send_nothing():
    assert predicted("MinNorm", "auto", 1) == {}


class OneOfTwoRanks(LocalRuntime):
    world_size = 2


@pytest.mark.parametrize("combiner", COMBINERS)
def test_bytes_of_the_small_collectives(monkeypatch, combiner):
    sent = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: sent.append(tensor.nbytes))
    task = Task("tiny", length=8)
    model = task.make_model(torch.device("cpu"))
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    descent = Descent(objectives, COMBINERS[combiner]())
    runtime = OneOfTwoRanks(model, torch.optim.SGD(model.parameters(), lr=0.1), objectives)
    batches = {stream: [batch] for stream, batch in task.batch(torch.device("cpu")).items()}
    assert descent.step(batches, runtime).moves
    assert sum(sent) == bytes_of_facts(combiner, len(objectives))
    assert len(sent) == 2
