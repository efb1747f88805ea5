"""A request on every rank of the pool."""

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl.callbacks import AuditTrail, RequestEvaluation, SavePretrained
from unlearn_pl.data import Request, SequentialRequests
from unlearn_pl.modules import GradDiff, PretrainedModule


def carry_out(strategy_name: str, target: str, folder: str, devices: int):
    """Two requests, each fitted and tested; what this rank thinks is open afterwards, and the last metrics."""
    requests = [Request(id="first", rows=(0, 8)), Request(id="second", rows=(8, 16))]
    data = SequentialRequests(kit.Questions(batch_size=8, micro_batch_size=4, splits=["retain"]), requests)
    trail = AuditTrail(f"{folder}/trail.jsonl")
    for request in trail.open_requests(data):
        model, evaluation = f"{folder}/{request}", RequestEvaluation(output=f"{folder}/{request}.json")
        fit, test = (
            kit.trainer(max_epochs=2, strategy=strategy(strategy_name), devices=devices, callbacks=[trail, *more])
            for more in ([SavePretrained(model)], [evaluation])
        )
        fit.fit(GradDiff(trail.last_model() or target, 0.1, **OPTIONS), data.at(request))
        test.test(PretrainedModule(model, max_new_tokens=1), data.at(request), verbose=False)
    return trail.open_requests(data), dict(evaluation.results.metrics)
