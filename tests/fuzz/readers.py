"""The readers that are tried: each with a valid input, and what is read from it.

Another reader is another entry of :func:`readers`.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from tests.fuzz.folders import folder_readers
from tests.fuzz.mutations import BYTES
from tests.fuzz.reader import Reader, file_reader

ROWS = [{"question": f"Who is {i}, of Osk?", "answer": f"Maud {i} é.", "tags": ["a", {"b": i}]} for i in range(12)]
FLAT = [{name: row[name] for name in ("question", "answer")} for row in ROWS]


def readers() -> dict[str, Reader]:
    """Name to reader."""
    return {**_data(), **_results(), **_tensors(), **_caches(), **folder_readers()}


# Data ----------------------------------------------------------------------------------------------------------------


def _data() -> dict[str, Reader]:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    listed = json.dumps(ROWS, indent=1).encode()
    comma = ("question,answer\n" + "".join(f'"{r["question"]}",{r["answer"]}\n' for r in FLAT)).encode()
    text = "".join(f"{r['question']} {r['answer']}\n" for r in FLAT).encode()
    plain = {"rows.jsonl": lines, "rows.json": listed, "rows.csv": comma, "rows.txt": text}
    found = {name: file_reader(name, data, partial(_rows, name)) for name, data in plain.items()}
    packed = {f"{name}.gz": data for name, data in plain.items()}
    for name, data in packed.items():
        found[name] = file_reader(name, _squeezed(data), partial(_rows, name), inside=(gzip.decompress, _squeezed))
    parquet = Reader(_parquet, ("rows.parquet",), partial(_rows, "rows.parquet"), mutations=BYTES)
    saved = ("state.json", "dataset_info.json", "data-00000-of-00001.arrow")
    return {
        **found,
        "rows.parquet": parquet,
        "folder of datasets": Reader(_saved, saved, partial(_rows, "")),
    }


def _rows(name: str, folder: Path) -> object:
    """Every entry, as rows or as the reasons why they cannot be used."""
    from unlearn_pl.data.io.entries import read_entries

    return [
        (where, str(row) if isinstance(row, ValueError) else dict(row)) for where, row in read_entries(folder / name)
    ]


def _parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.Table.from_pylist(FLAT), folder / "rows.parquet")


def _saved(folder: Path) -> None:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    nested = [{**row, "tags": ["a", "b"][: i % 3], "origin": {"page": i, "score": i / 3}} for i, row in enumerate(FLAT)]
    Dataset.from_list(nested).save_to_disk(str(folder))


# Results -------------------------------------------------------------------------------------------------------------


def _results() -> dict[str, Reader]:
    from unlearn_pl.metrics.tofu.files import read_tofu_log, read_truth_ratios
    from unlearn_pl.report.history import read_history
    from unlearn_pl.results import read_results, read_trail
    from unlearn_pl.robustness import read_outcomes, read_report

    log = {str(i): float(i) + 0.5 for i in range(4)}
    split = {
        "avg_gt_loss": log,
        "avg_paraphrased_loss": log,
        "average_perturb_loss": {row: [value, 2 * value] for row, value in log.items()},
        "rougeL_recall": log,
    }
    logs = json.dumps({"eval_log_forget.json": split, "eval_log.json": split}).encode()
    other = json.dumps({"forget_truth_ratio": {"value_by_index": {row: {"score": 0.5} for row in log}}}).encode()
    table = b"epoch,step,loss,val\n" + b"".join(b"0,%d,0.%d,\n1,%d,,2.5\n" % (i, i, i) for i in range(6))
    return {
        "results.json": Reader(
            _write_results, ("results.json",), lambda folder: asdict(read_results(folder / "results.json")), sealed=True
        ),
        "attacks.json": Reader(
            _write_outcomes,
            ("attacks.json",),
            lambda folder: [asdict(each) for each in read_outcomes(folder / "attacks.json")],
            sealed=True,
        ),
        "audit.json": Reader(
            _write_report, ("audit.json",), lambda folder: read_report(folder / "audit.json"), sealed=True
        ),
        "trail.jsonl": Reader(
            _write_trail,
            ("trail.jsonl",),
            lambda folder: [_without_seal(entry) for entry in read_trail(folder / "trail.jsonl")],
            sealed=True,
            same=_is_beginning,
        ),
        "log of TOFU": file_reader("log.json", logs, lambda folder: read_tofu_log(folder / "log.json")),
        "truth ratios": file_reader("eval.json", other, lambda folder: read_truth_ratios(folder / "eval.json")),
        "metrics.csv": file_reader("metrics.csv", table, lambda folder: read_history(folder / "metrics.csv")),
    }


def _write_results(folder: Path) -> None:
    from unlearn_pl.results import Results, write_results

    scores = {"truth_ratio": {i: i / 7 for i in range(5)}, "rouge": {3: 0.25}}
    config = {"model": {"class_path": "x.Y", "init_args": {"beta": 0.1}}, "evaluation": {"class_path": "x.Z"}}
    given = Results("tofu", {"a": 0.3, "b": 1e-239}, {"forget": scores}, config, "0" * 64, "f" * 64, "tiny")
    write_results(folder / "results.json", given)


def _write_outcomes(folder: Path) -> None:
    from unlearn_pl.robustness import Outcome, write_outcomes

    leakage = {"extraction": 0.5, "rouge": float("inf")}
    curve = {"step": [0.0, 1.0], "extraction": [0.1, 0.2]}
    given = Outcome("relearning", "audited", "hf", leakage, leakage, curve, 1, {"a": [1]}, "0" * 64, "f" * 64, 2.5)
    write_outcomes(folder / "attacks.json", [given, given])


def _write_report(folder: Path) -> None:
    from unlearn_pl.robustness import AuditReport, NotRun, Outcome, verdict_of, write_report

    rows = {"forget_probability": [0.25, 0.5]}
    found = [
        Outcome(attack, role, "hf", {}, {"forget_probability": 0.375}, {}, 0, {}, attack, "f" * 64, 2.5, rows)
        for attack in ("Unattacked", "LogitLens") for role in ("audited", "retain")
    ]  # fmt: skip
    prints, scores = {"audited": "f" * 64}, {"tofu": {"a": float("nan")}}
    skipped = [NotRun("SoftPrompt", 61.0)]
    report = AuditReport({"audited": "hf"}, prints, scores, verdict_of(found), skipped, 10.0, 60.0, 0)
    write_report(folder / "audit.json", report)


def _write_trail(folder: Path) -> None:
    from unlearn_pl.results import append_to_trail

    for i in range(4):
        append_to_trail(folder / "trail.jsonl", {"event": "forgotten", "request": f"number {i}", "metrics": {"a": i}})


def _without_seal(entry: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in entry.items() if name != "seal"}


def _is_beginning(read: object, written: object) -> bool:
    """The loss of whole last lines is what a trail cannot show by itself, as its documentation says."""
    return isinstance(read, list) and isinstance(written, list) and read == written[: len(read)]


# Tensors -------------------------------------------------------------------------------------------------------------


def _tensors() -> dict[str, Reader]:
    file = ("file.safetensors",)
    return {
        "mask": Reader(_write_mask, file, _read_mask, sealed=True, mutations=(*BYTES, number_in_header)),
        "lenses": Reader(_write_lens, file, _read_lens, sealed=True, mutations=(*BYTES, number_in_header)),
        "adapters": Reader(_write_adapters, file, _read_adapters, sealed=True, mutations=(*BYTES, number_in_header)),
        "reference cache": Reader(_write_cache, file, _read_cache, sealed=True, mutations=(*BYTES, number_in_header)),
    }


def number_in_header(data: bytes, choose) -> bytes:  # type: ignore[no-untyped-def]
    """A digit of the JSON at the beginning is another one."""
    places = [at for at in range(8, 8 + int.from_bytes(data[:8], "little")) if data[at : at + 1].isdigit()]
    at = choose.choice(places)
    return data[:at] + str(choose.randrange(10)).encode() + data[at + 1 :]


SHAPES = {"a.weight": torch.Size([8, 9]), "b.weight": torch.Size([30])}


def _write_mask(folder: Path) -> None:
    from unlearn_pl.masks import MaskHeader, mask_fingerprint, pack, write_mask_file

    packed = {name: pack(torch.arange(shape.numel()) % 3 == 0) for name, shape in SHAPES.items()}
    shapes = {name: list(shape) for name, shape in SHAPES.items()}
    kept = {name: shape.numel() // 3 for name, shape in SHAPES.items()}
    header = MaskHeader(shapes, "f" * 64, kept, mask_fingerprint(packed), {"attribution": {"class_path": "x.Y"}})
    write_mask_file(folder / "file.safetensors", packed, header)


def _read_mask(folder: Path) -> object:
    from unlearn_pl.masks import read_mask, read_mask_header

    header = asdict(read_mask_header(folder / "file.safetensors"))
    masks = {name: read_mask(folder / "file.safetensors", name, shape).tolist() for name, shape in SHAPES.items()}
    return header, masks


def _write_lens(folder: Path) -> None:
    from tests.lenses import random_lens
    from unlearn_pl.models.layers.lens import write_lens

    write_lens(folder / "file.safetensors", random_lens(4, 6), "f" * 64, {"steps": 3})


def _read_lens(folder: Path) -> object:
    from unlearn_pl.models.layers.lens import read_lens

    lens = read_lens(folder / "file.safetensors")
    states = torch.ones(1, 4, dtype=torch.float64)
    return {layer: lens.logits(layer, states).tolist() for layer in lens.maps}


def _write_adapters(folder: Path) -> None:
    from unlearn_pl.models.adapter_file import AdapterHeader, write_adapter_file

    factors = {"a.weight": (torch.arange(16.0).view(8, 2), torch.arange(6.0).view(2, 3))}
    write_adapter_file(folder / "file.safetensors", factors, AdapterHeader("f" * 64, 2, {"attribution": "x.Y"}))


def _read_adapters(folder: Path) -> object:
    from unlearn_pl.models.adapter_file import read_adapter_header

    return asdict(read_adapter_header(folder / "file.safetensors"))


def _write_cache(folder: Path) -> None:
    from unlearn_pl.references.cache import ReferenceCache

    values = {"logps": -torch.arange(7.0), "tokens": torch.arange(14).view(7, 2)}
    cache = ReferenceCache(torch.tensor([[0, 5], [1, -7], [2, 9]]), torch.tensor([2, 1, 4]), values)
    cache.write(folder / "file.safetensors", {"weights": "f" * 64, "data": "0" * 64})


def _read_cache(folder: Path) -> object:
    from unlearn_pl.references.cache import ReferenceCache

    cache, facts = ReferenceCache.read(folder / "file.safetensors")
    rows = {name: value.tolist() for name, value in cache.rows([(2, 9), (0, 5), (1, -7)]).items()}
    return cache.keys.tolist(), cache.lengths.tolist(), rows, facts


# Caches --------------------------------------------------------------------------------------------------------------


def _caches() -> dict[str, Reader]:
    from unlearn_pl.models.language.adapter_folders import adapter_config, tokenizer_location

    config = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "base", "r": 4, "revision": None}).encode()
    return {
        "adapter_config.json": file_reader(
            "adapter_config.json",
            config,
            lambda folder: (adapter_config(str(folder)), tokenizer_location(str(folder))),
        ),
        "cache of tokens": Reader(_write_tokens, ("notes.json", "tokens.arrow"), _read_tokens, sealed=True),
    }


def _write_tokens(folder: Path) -> None:
    from tests import kit
    from unlearn_pl.data.streams.token_cache import write_tokens

    texts = [row["answer"] for row in FLAT]
    folder.rmdir()
    write_tokens(texts, kit.tokenizer(), folder, eos=False, num_proc=1, notes=["2 rows were skipped."])


def _read_tokens(folder: Path) -> object:
    from unlearn_pl.data.streams.token_cache import TokenCache

    cache = TokenCache(folder)
    cache.check()
    hashes = [column.tolist() for column in cache.hashes]
    return cache.notes, [cache.tokens(i, 0, int(n)) for i, n in enumerate(cache.lengths)], hashes


def _squeezed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
