"""Write ``experiments/papers``: a recipe for the main tables of each paper, with the published numbers beside it.

    python experiments/paper_recipes.py

A recipe is put together of those in ``data``, ``methods`` and ``models``, as ``unlearn-pl fit -c base -c data/X ...``
does, so that a paper's settings stand in one place. None of the recipes was run here: they need the papers' models.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent
WIDTH = 120

LLAMA2, LLAMA32 = "open-unlearning/tofu_Llama-2-7b-chat-hf_full", "open-unlearning/tofu_Llama-3.2-1B-Instruct_full"
NEWS, BOOKS = "muse-bench/MUSE-News_target", "muse-bench/MUSE-Books_target"
ZEPHYR = "HuggingFaceH4/zephyr-7b-beta"
NOT_AT_HAND = "not at hand; add them here when you have the paper's table"


@dataclass(frozen=True)
class Table:
    """One setting of a paper's table.

    Attributes:
        name: of the recipe, in the folder of the paper.
        what: the first sentence of the recipe.
        parts: recipes that it is put together of, after ``base``; later ones take precedence.
        model: the model that the paper unlearns, as a name on the hub.
        published: the paper's numbers; the model's own and the retrained model's where they are known.
        remarks: what differs from the paper.
        options: values that no part has, nested as in YAML.
    """

    name: str
    what: str
    parts: Sequence[str]
    model: str
    published: str = NOT_AT_HAND
    remarks: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def steps(count: int, batch_size: int = 32) -> dict[str, Any]:
    """So many optimizer steps of ``batch_size`` examples."""
    return {"trainer": {"max_epochs": None, "max_steps": count}, "data": {"init_args": {"batch_size": batch_size}}}


def knobs(max_steps: int, lr: float, combiner: str | None = None, **model: float) -> dict[str, Any]:
    """The settings of a row of SAGO's configurations; ``model`` holds arguments of the method."""
    rule = {"combiner": {"class_path": combiner}} if combiner else {}
    schedule = {"class_path": "LinearWarmup", "init_args": {"warmup_ratio": 0.1}}
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": lr, "weight_decay": 0.0}}
    return steps(max_steps) | {"model": {"init_args": {**model, **rule, "optimizer": optimizer, "schedule": schedule}}}


def tofu(method: str, split: str = "forget10") -> tuple[str, ...]:
    return f"data/tofu_{split}", f"methods/{method}"


BY_SIMNPO = "The numbers are those that SimNPO's paper (2410.07163) reports."
BY_OPENUNLEARNING = "The numbers are those of OpenUnlearning's page on reproduction, which calls them not tuned."
LOGITS = "The published runs apply the loss to logits; this is the paper's formula, so the numbers will differ."
TOFU_7B = "original 0 and .62, retrained 1 and .62"
TOFU_1B = "original 2e-21 and .60, retrained 1 and .59"
NEWS_MODELS = "original 58.3, 62.9, -98.7, 54.3; retrained 20.8, 33.3, 0, 53.8"
BOOKS_MODELS = "original 99.6, 58.3, -56.3, 67.0; retrained 14.3, 28.9, 0, 74.5"
MUSE_METRICS = "VerbMem, KnowMem and PrivLeak of the forget set, KnowMem of the retain set"
RECOVERY = "MMLU recovery, of the original model's accuracy"
SAME_KNOBS = "The paper has no such row: it is the control, the plain sum with the settings of SAGO's row."

PAPERS: Mapping[str, Sequence[Table]] = {
    "2401.06121": [
        Table(
            "graddiff_forget10",
            "TOFU (Maini et al.): gradient difference on forget10.",
            tofu("graddiff"),
            LLAMA2,
            f"forget quality 4e-15, model utility .54 ({TOFU_7B})",
            BY_SIMNPO,
        ),
        Table(
            "gradascent_forget10",
            "TOFU (Maini et al.): gradient ascent on forget10.",
            tofu("gradascent"),
            LLAMA2,
            f"forget quality 2e-16, model utility 0 ({TOFU_7B})",
            BY_SIMNPO,
        ),
        Table(
            "klmin_forget10",
            "TOFU (Maini et al.): ascent with KL divergence on the retain set, on forget10.",
            tofu("klmin"),
            LLAMA2,
        ),
        Table(
            "idknll_forget10",
            "TOFU (Maini et al.): refusals on forget10.",
            tofu("idknll"),
            LLAMA2,
            f"forget quality 3e-14, model utility .54 ({TOFU_7B})",
            BY_SIMNPO,
        ),
    ],
    "2403.03218": [
        Table(
            "rmu_wmdp_bio",
            "WMDP (Li et al.): RMU on WMDP-Bio.",
            ("data/wmdp_bio", "methods/rmu_wmdp"),
            ZEPHYR,
            "accuracy on WMDP-Bio .32, on MMLU .57 (original .65 and .59)",
            BY_SIMNPO + " The paper unlearns biology and cybersecurity at once.",
            options=steps(80, 16),
        ),
    ],
    "2404.05868": [
        Table(
            f"npo_{split}",
            f"NPO (Zhang et al.) on TOFU's {split}.",
            tofu("npo", split),
            LLAMA2,
            published,
            remark,
        )
        for split, published, remark in (
            ("forget01", NOT_AT_HAND, ""),
            ("forget05", f"forget quality .79, model utility .57 ({TOFU_7B})", BY_SIMNPO),
            ("forget10", f"forget quality .29, model utility .55 ({TOFU_7B})", BY_SIMNPO),
        )
    ],
    "2407.06460": [
        Table(
            f"{method}_{corpus}",
            f"MUSE (Shi et al.): {label} on {corpus.title()}.",
            (f"data/muse_{corpus}", f"methods/{method}_muse"),
            NEWS if corpus == "news" else BOOKS,
            f"{MUSE_METRICS}: {published}",
            LOGITS if method == "npo" else "",
        )
        for method, label, corpus, published in (
            ("npo", "NPO", "news", f"2.5, 56.9, 108.9, 37.6 ({NEWS_MODELS})"),
            ("npo", "NPO", "books", f"0, 0, -31.2, 23.7 ({BOOKS_MODELS})"),
            ("graddiff", "gradient difference", "news", f"4.9, 31.3, 108.1, 28.2 ({NEWS_MODELS})"),
            ("graddiff", "gradient difference", "books", f"0, 0, -24.6, .1 ({BOOKS_MODELS})"),
        )
    ],
    "2410.07163": [
        Table(
            "tofu_forget05",
            "SimNPO (Fan et al.) on TOFU's forget05.",
            tofu("simnpo_forget05", "forget05"),
            LLAMA2,
            f"forget quality .99, model utility .58 ({TOFU_7B}); OpenUnlearning reports 1e-106 and .60",
        ),
        Table(
            "tofu_forget10",
            "SimNPO (Fan et al.) on TOFU's forget10.",
            tofu("simnpo"),
            LLAMA2,
            f"forget quality .45, model utility .62 ({TOFU_7B}); OpenUnlearning reports 1e-198 and .60",
        ),
        Table(
            "muse_news",
            "SimNPO (Fan et al.) on MUSE News.",
            ("data/muse_news", "methods/simnpo_muse_news"),
            NEWS,
            f"KnowMem and PrivLeak of the forget set, KnowMem of the retain set: 44.8, 72.9, 39.7 ({NEWS_MODELS}, with "
            "VerbMem first)",
            LOGITS,
        ),
        Table(
            "muse_books",
            "SimNPO (Fan et al.) on MUSE Books.",
            ("data/muse_books", "methods/simnpo_muse_books"),
            BOOKS,
            f"{MUSE_METRICS}: 0, 0, -19.8, 48.3 ({BOOKS_MODELS})",
            LOGITS,
        ),
        Table(
            "wmdp_bio",
            "SimNPO (Fan et al.) on WMDP-Bio.",
            ("data/wmdp_bio", "methods/simnpo_wmdp"),
            ZEPHYR,
            "accuracy on WMDP-Bio .26, on MMLU .48 (original .65 and .59)",
            options=steps(500, 4),
        ),
    ],
    "2410.17509": [
        Table(
            "npo_tofu_forget10",
            "WAGLE (Jia et al.): NPO on the selected weights, TOFU's forget10.",
            tofu("npo_wagle"),
            LLAMA2,
            remarks="`unlearn-pl attribute` writes the mask first, see methods/npo_wagle.",
            options={"trainer": {"max_epochs": 5}, "data": {"init_args": {"batch_size": 4}}},
        ),
    ],
    "2506.12618": [
        Table(
            f"{method}_forget10",
            f"OpenUnlearning (Dorna et al.): {label} on TOFU's forget10, Llama-3.2-1B.",
            tofu(method),
            LLAMA32,
            f"forget quality {quality}, model utility {utility} ({TOFU_1B})",
            BY_OPENUNLEARNING,
            options=options,
        )
        for method, label, quality, utility, options in (
            ("graddiff", "gradient difference", "1e-239", ".49", {}),
            ("idkdpo", "IdkDPO", "5e-12", ".23", {}),
            ("npo", "NPO", ".02", ".46", {}),
            ("rmu", "RMU", "3e-15", ".59", {}),
            ("simnpo", "SimNPO", "2e-203", ".54", {}),
        )
    ],
    "2604.14808": [
        Table(
            "graddiff_sago",
            "SAGO (Xiao et al.): gradient difference on WMDP-Bio.",
            ("data/wmdp_bio", "methods/graddiff"),
            ZEPHYR,
            options=knobs(500, 1e-5, "SAGO", retain_weight=0.5),
        ),
        Table(
            "npo_sago",
            "SAGO (Xiao et al.): NPO on WMDP-Bio.",
            ("data/wmdp_bio", "methods/npo"),
            ZEPHYR,
            options=knobs(150, 1e-5, "SAGO", beta=1e-4, retain_weight=1.0, forget_weight=0.1),
        ),
        Table(
            "simnpo_sago",
            "SAGO (Xiao et al.): SimNPO on WMDP-Bio.",
            ("data/wmdp_bio", "methods/simnpo_wmdp"),
            ZEPHYR,
            f"{RECOVERY}: 96.0 %, where PCGrad has 94.0 % and the sum, with beta .7 and 100 steps, 44.6 %",
            options=knobs(150, 1e-5, "SAGO", beta=0.02, retain_weight=0.1),
        ),
        Table(
            "simnpo_sum",
            "SAGO (Xiao et al.): the plain sum of SimNPO on WMDP-Bio.",
            ("data/wmdp_bio", "methods/simnpo_wmdp"),
            ZEPHYR,
            f"{RECOVERY}: 44.6 %",
            options=knobs(100, 1e-5, beta=0.7, retain_weight=0.1),
        ),
        Table(
            "simnpo_sum_same_settings",
            "SAGO (Xiao et al.): the plain sum of SimNPO with SAGO's settings, on WMDP-Bio.",
            ("data/wmdp_bio", "methods/simnpo_wmdp"),
            ZEPHYR,
            "none",
            SAME_KNOBS,
            options=knobs(150, 1e-5, beta=0.02, retain_weight=0.1),
        ),
    ],
} | {
    paper: [Table(f"{method}_forget10", f"{label} on TOFU's forget10, Llama-3.2-1B.", tofu(method), LLAMA32)]
    for paper, method, label in (
        ("2402.10052", "undial", "UNDIAL (Dong et al.)"),
        ("2410.11143", "flat", "FLAT (Wang et al.)"),
        ("2502.19301", "wga", "WGA (Wang et al.)"),
        ("2503.01224", "ceu", "CE-U (Yang)"),
        ("2505.11953", "satimp", "SatImp (Yang et al.)"),
        ("2506.05314", "pdu", "PDU (Entesari et al.)"),
        ("2509.02820", "jensun", "JensUn (Singh et al.)"),
    )
}
"""ArXiv number of a paper to its tables."""


def merged(under: Any, over: Any) -> Any:
    """``over`` on ``under``, as ``-c under -c over``: mappings are merged, and ``key+`` appends to a list."""
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    if under.get("class_path", over.get("class_path")) != over.get("class_path", under.get("class_path")):
        return over
    result = dict(under)
    for key, value in over.items():
        if key.endswith("+"):
            result[key[:-1]] = [*result.get(key[:-1], []), *value]
        else:
            result[key] = merged(result.get(key), value)
    return result


def recipe(paper: str, table: Table) -> str:
    """The text of a recipe."""
    config: Any = {}
    for part in ("base", *table.parts):
        config = merged(config, yaml.safe_load((ROOT / f"{part}.yaml").read_text(encoding="utf-8")))
    runs = {"trainer": {"default_root_dir": f"runs/papers/{paper}/{table.name}"}}
    for options in ({"model": {"init_args": {"model": table.model}}}, table.options, runs):
        config = merged(config, options)
    parts = ", ".join(table.parts)
    header = [f"{table.what} {table.remarks}".strip(), f"Published: {table.published}.", f"Put together of {parts}."]
    comment = [line for text in header for line in textwrap.wrap(text, WIDTH - 2)]
    return "".join(f"# {line}\n" for line in comment) + yaml.safe_dump(config, sort_keys=False)


def main() -> None:
    """Write all recipes."""
    for paper, tables in PAPERS.items():
        folder = ROOT / "papers" / paper
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            (folder / f"{table.name}.yaml").write_text(recipe(paper, table), encoding="utf-8")


if __name__ == "__main__":
    main()
