"""The metadata at the top of a model card, which the Hugging Face hub reads."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import lightning.pytorch as pl

from unlearn_pl.callbacks.export.measured import LEVEL, Measured
from unlearn_pl.models import ModelSpec, resolve
from unlearn_pl.modules import ModelModule
from unlearn_pl.recording import Recorded, record
from unlearn_pl.types import StreamProvider

OTHER = "other"
"""Kind of a model that the hub has no word for."""

_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_LICENSE = ("license", "license_name", "license_link")


def front_matter(
    module: pl.LightningModule,
    data: object,
    metrics: Sequence[Measured],
    library: str,
    name: str,
    task: str,
    is_adapter: bool = False,
) -> str:
    """YAML without its dashes, as ``huggingface_hub.ModelCardData`` reads it.

    Args:
        module: what was trained.
        data: the data module, if there is one.
        metrics: those of the run; the values after training are its ``model-index``.
        library: that loads the model.
        name: of the model in its ``model-index``.
        task: kind of the model, as the hub calls it.
        is_adapter: whether the folder holds adapters alone.
    """
    from huggingface_hub import ModelCardData

    of_base = card_of_base(module) if isinstance(module, ModelModule) else {}
    base = base_model(module, of_base) if isinstance(module, ModelModule) else None
    results = [_result(metric, task) for metric in metrics if metric.after is not None and math.isfinite(metric.after)]
    options = {key: str(of_base[key]) for key in _LICENSE if isinstance(of_base.get(key), str)}
    if base is not None:
        options["base_model_relation"] = "adapter" if is_adapter else "finetune"
    card = ModelCardData(
        library_name=library,
        base_model=base,
        tags=["unlearning", "unlearn_pl", type(module).__name__],
        datasets=hub_datasets(data) or None,
        model_name=name if results else None,
        eval_results=results or None,
        pipeline_tag=task if task != OTHER else None,
        license=options.get("license"),
        license_name=options.get("license_name"),
        license_link=options.get("license_link"),
        base_model_relation=options.get("base_model_relation"),
    )
    return str(card.to_yaml())


def _result(metric: Measured, task: str):  # type: ignore[no-untyped-def]  # a class that is imported when it is used
    from huggingface_hub import EvalResult

    details: dict[str, object] = {}
    if metric.before is not None and math.isfinite(metric.before):
        details["before_training"] = metric.before
    if metric.interval is not None and all(map(math.isfinite, metric.interval)):
        details |= {"interval": list(metric.interval), "interval_level": LEVEL}
    return EvalResult(
        task_type=task,
        dataset_type=metric.benchmark,
        dataset_name=metric.benchmark,
        metric_type=metric.name,
        metric_name=f"{metric.benchmark}/{metric.name}",
        metric_value=metric.after,
        metric_args=details or None,
    )


def hub_model(spec: ModelSpec) -> str | None:
    """The name of the model on the hub; None if it is a folder, or has no name."""
    name = spec.name
    if name is None or Path(name).exists():
        return None
    found, _ = _located(name)
    return found if _ON_HUB.fullmatch(found) and not Path(found).exists() else None


def _located(name: str) -> tuple[str, str | None]:
    from unlearn_pl.models.language.names import ALIASES

    return (ALIASES[name][1], None) if name in ALIASES else resolve(name)


def hub_datasets(data: object) -> list[str]:
    """Names on the hub of the data sets of a data module."""
    if not isinstance(data, StreamProvider):
        return []
    recorded = record(data) if isinstance(data, Recorded) else {}
    names = [*data.hub_datasets(), *_named(recorded)]
    return [name for name in dict.fromkeys(names) if _ON_HUB.fullmatch(name) and not Path(name).exists()]


def _named(value: object) -> Iterator[str]:
    """The names of every ``HubDataset`` in a record."""
    if isinstance(value, Mapping):
        if str(value.get("class_path", "")).endswith(".HubDataset"):
            yield str(value["init_args"]["name"])
        yield from _of_all(value.values())
    elif isinstance(value, list):
        yield from _of_all(value)


def _of_all(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        yield from _named(value)


def base_model(module: ModelModule, of_base: Mapping[str, object]) -> str | None:
    """The name on the hub of the model before training, or of what a folder on this machine was made from.

    Args:
        module: what was trained.
        of_base: what :func:`card_of_base` has found.
    """
    name = module.spec.name
    if name is not None and Path(name).is_dir():
        earlier = of_base.get("base_model")
        return earlier if isinstance(earlier, str) and _ON_HUB.fullmatch(earlier) else None
    return hub_model(module.spec)


def card_of_base(module: ModelModule) -> dict[str, object]:
    """The metadata of the model before training; empty if they are not on this machine.

    Nothing is asked of the hub: its card is read from the folder of the model, or from the cache of what was loaded.

    Args:
        module: what was trained.
    """
    from huggingface_hub import ModelCard, try_to_load_from_cache

    name, on_hub = module.spec.name, hub_model(module.spec)
    card: object = None
    if name is not None and Path(name).is_dir():
        card = Path(name) / "README.md"
    elif on_hub is not None:
        card = try_to_load_from_cache(on_hub, "README.md", revision=getattr(module.spec, "revision", None))
    if not isinstance(card, str | Path) or not Path(card).is_file():
        return {}
    try:
        found = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except Exception:  # the card is another person's, and may be anything
        return {}
    return dict(found)


def commit_of(module: pl.LightningModule) -> str | None:
    """The commit of the hub that the model was loaded from, as the cache has it; None if it was not from there."""
    from huggingface_hub import constants, try_to_load_from_cache

    on_hub = hub_model(module.spec) if isinstance(module, ModelModule) else None
    if on_hub is None:
        return None
    revision = getattr(module.spec, "revision", None)
    for name in ("config.json", "adapter_config.json"):
        found = try_to_load_from_cache(on_hub, name, revision=revision)
        if isinstance(found, str) and constants.REGEX_COMMIT_OID.fullmatch(Path(found).parent.name):
            return Path(found).parent.name
    return None
