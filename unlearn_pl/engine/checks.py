"""Validation of a descent before any work is done; every error names a supported alternative."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from torch.optim import Optimizer

from unlearn_pl.combiners import Combiner, RowCombiner
from unlearn_pl.functional import Rescale
from unlearn_pl.goals import Goal
from unlearn_pl.gradients import GradientSource, Metric, Scope, check_adam
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import DualOptim

OnNonFinite = Literal["skip", "drop", "raise"]


def check_objectives(objectives: Mapping[str, Objective]) -> None:
    """Check that there is something to descend.

    Raises:
        ValueError: if there is no objective.
    """
    if not objectives:
        raise ValueError("objectives is empty; at least one objective is needed.")


def check_goals(objectives: Mapping[str, Objective], combiner: Combiner, goals: Mapping[str, Goal]) -> None:
    """Check that a combiner that weighs distances from goals has one to forget.

    Raises:
        ValueError: naming the objectives that may have one.
    """
    forget = [name for name, objective in objectives.items() if objective.role == "forget"]
    if combiner.weighs_distances and not set(forget) & set(goals):
        raise ValueError(
            f"{type(combiner).__name__} needs a goal of an objective of role forget, but goals are {dict(goals)}. "
            f"Accepted: a goal of {' or '.join(map(repr, forget))}, such as AtMost('holdout') or AtMost(0.1)."
        )


def check_streams(wanted: Mapping[str, tuple[str, ...]], given: Sequence[str]) -> None:
    """Check that the data has every stream that objectives read.

    Args:
        wanted: objective name to the streams that it reads.
        given: streams of the data.

    Raises:
        ValueError: naming the objective, the stream and the available streams.
    """
    for name, streams in wanted.items():
        for stream in streams:
            if stream not in given:
                raise ValueError(
                    f"Objective {name!r} reads stream {stream!r}, but the data has {sorted(given)}. "
                    "Set the objective's `stream` to one of these or, if the data module was given `streams`, add the "
                    "missing one there."
                )


def check_options(
    combiner: Combiner,
    source: GradientSource,
    *,
    on_nonfinite: OnNonFinite,
    scope: Scope,
    metric: Metric,
    rescale: Rescale | None,
    refresh_every: int,
    objectives: int,
) -> None:
    """Check that options are known, and that the combiner and the source of gradients can honor them.

    Args:
        combiner: combines the gradients.
        source: computes them; where several take turns, each is checked.
        on_nonfinite: as in :class:`~unlearn_pl.engine.Descent`, also the following ones.
        scope: blocks of parameters.
        metric: inner product.
        rescale: length of the combined gradient.
        refresh_every: steps between two solves.
        objectives: their number.

    Raises:
        ValueError: naming the option, what was given and what is accepted.
    """
    options = {"scope": scope, "metric": metric, "rescale": rescale}
    accepted = {
        "on_nonfinite": get_args(OnNonFinite),
        "scope": get_args(Scope),
        "metric": get_args(Metric),
        "rescale": (None, *get_args(Rescale)),
    }
    for name, value in {"on_nonfinite": on_nonfinite, **options}.items():
        if value not in accepted[name]:
            raise ValueError(f"{name} is {value!r}; accepted: {', '.join(map(str, accepted[name]))}.")
    rule = type(combiner).__name__
    if on_nonfinite == "drop" and not combiner.uses_gramian:
        raise ValueError(
            f"on_nonfinite='drop' needs a gradient per objective, which {rule} does not compute. "
            "Accepted with it: 'skip', 'raise'."
        )
    given = {**options, "refresh_every": refresh_every}
    plain = {"scope": "global", "metric": "euclidean", "rescale": None, "refresh_every": 1}
    changed = {name: value for name, value in given.items() if value != plain[name]}
    if changed and (not combiner.uses_gramian or isinstance(combiner, RowCombiner)):
        raise ValueError(f"{changed} concern the Gramian, which {rule} does not use. Accepted with it: {plain}.")
    for turn in source.turns:
        _check_source(combiner, turn, scope=scope, metric=metric, refresh_every=refresh_every, objectives=objectives)


def _check_source(
    combiner: Combiner, source: GradientSource, *, scope: Scope, metric: Metric, refresh_every: int, objectives: int
) -> None:
    rule, kind = type(combiner).__name__, type(source).__name__
    if not combiner.uses_gramian and not source.keeps_rows and source.plain:
        raise ValueError(
            f"gradient={kind}() estimates the Gramian, which {rule} does not use. Accepted with it: "
            "gradient=FirstOrder()."
        )
    if scope != "global" and (refresh_every > 1 or not source.every_scope):
        raise ValueError(
            f"scope={scope!r} has weights per block of parameters, which a weighted sum of losses cannot have. "
            f"Accepted with refresh_every={refresh_every} and gradient={kind}(): scope='global'."
        )
    if metric != "euclidean" and not source.every_metric:
        raise ValueError(
            f"gradient={kind}() keeps Euclidean products, but metric is {metric!r}. "
            "Accepted with it: metric='euclidean'."
        )
    if isinstance(combiner, RowCombiner) and not source.whole_rows:
        raise ValueError(
            f"{rule} reads gradients element by element, in another form than gradient={kind}() with these arguments "
            "keeps them. Accepted with it: gradient=FirstOrder()."
        )
    directions = source.num_directions
    if combiner.uses_gramian and directions is not None and directions <= objectives:
        raise ValueError(
            f"gradient={kind}() measures slopes along {directions} directions, with which {rule} sees the gradients of "
            f"{objectives} objectives as dependent. Accepted: more than {objectives}, and 16 or more for cosines that "
            "are of use; or combiner=Scalarization()."
        )


def check_optimizer(
    optimizer: Optimizer, combiner: Combiner, source: GradientSource, *, metric: Metric, refresh_every: int
) -> None:
    """Check that the optimizer has the state that the metric reads, and gets the gradients that it needs.

    Raises:
        ValueError: naming the optimizer and what is accepted.
    """
    dual = isinstance(optimizer, DualOptim)
    if metric == "adam" and dual:
        raise ValueError(
            "metric='adam' reads the second moments of one Adam, but DualOptim keeps those of two. "
            "Accepted with it: metric='euclidean'."
        )
    if metric == "adam":
        check_adam(optimizer)
    if dual and isinstance(combiner, RowCombiner):
        raise ValueError(
            f"DualOptim needs a gradient per role, but {type(combiner).__name__} merges them element by "
            "element. Accepted with it: any other combiner."
        )
    if dual and (refresh_every > 1 or not all(turn.keeps_rows for turn in source.turns)):
        raise ValueError(
            f"DualOptim needs a gradient per role at every step, which refresh_every={refresh_every} with gradient="
            f"{type(source).__name__}() does not compute. Accepted with it: refresh_every=1, gradient=FirstOrder()."
        )
    if source.plain and not dual and not combiner.uses_gramian and (not source.whole_rows):
        raise ValueError(
            f"gradient={type(source).__name__}() with these arguments stores gradients of several objectives, "
            f"but combiner={type(combiner).__name__}() needs only one. Accepted with it: gradient=FirstOrder()."
        )
