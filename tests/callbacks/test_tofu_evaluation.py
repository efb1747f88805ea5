"""The callback against formulas in plain Python, on a tiny random Llama and a module that follows the contract."""

import json
import math
import os
from functools import cache

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from torch.utils.data import DataLoader

from unlearn_pl.callbacks import EvaluationCallback, TOFUEvaluation
from unlearn_pl.metrics import PerExampleMetric
from unlearn_pl.models.language.tiny import tiny_llama
from unlearn_pl.results import read_results, weights_fingerprint
from unlearn_pl.types import IGNORE_INDEX

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*forget_quality is not computed"),
    pytest.mark.filterwarnings("ignore:.*need the log-probability of every token"),
]

VOCABULARY = 50
SIZES = {"forget": 7, "retain": 5, "real_authors": 4, "world_facts": 3}
CHOICES = {"forget": [*range(7)], "retain": [*range(7)], "real_authors": [0, 2, 3, 4], "world_facts": [0, 2, 3, 4]}


@cache
def rows(split: str) -> list[dict]:
    """Random prompts and candidates of 1 to 6 tokens; one row per question and candidate."""
    generator = torch.Generator().manual_seed(len(split))

    def tokens(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, [1], generator=generator))
        return torch.randint(1, VOCABULARY, [length], generator=generator).tolist()

    return [
        {"index": index, "choice": choice, "prompt": prompt, "answer": tokens(1, 7)}
        for index in range(SIZES[split])
        for prompt in [tokens(2, 6)]
        for choice in CHOICES[split]
    ]


def collate(examples: list[dict]) -> dict:
    """A TokenBatch, padded on the right."""
    length = max(len(e["prompt"] + e["answer"]) for e in examples)
    ids, mask, labels = torch.zeros(3, len(examples), length, dtype=torch.long)
    for i, e in enumerate(examples):
        start, end = len(e["prompt"]), len(e["prompt"] + e["answer"])
        ids[i, :end] = torch.tensor(e["prompt"] + e["answer"])
        mask[i, :end] = 1
        labels[i] = IGNORE_INDEX
        labels[i, start:end] = ids[i, start:end]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return batch | {name: torch.tensor([e[name] for e in examples]) for name in ("index", "choice")}


def words(ids: list[int]) -> str:
    return " ".join(f"w{i % 5}" for i in ids)  # few words, so that texts overlap


def collate_prompts(examples: list[dict]) -> dict:
    index = torch.tensor([e["index"] for e in examples])
    return {"index": index, "prompt": [e["prompt"] for e in examples], "answer": [words(e["answer"]) for e in examples]}


def echo(prompt: list[int]) -> str:
    return words([*reversed(prompt), *prompt])


class Module(pl.LightningModule):
    """Scores and "generates" (it echoes the prompt), as the contract says."""

    def __init__(self, nan_index: int = -1) -> None:
        super().__init__()
        self.model = tiny_llama(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2)
        self.nan_index = nan_index
        with torch.no_grad():
            self.model.lm_head.weight.mul_(20)  # random logits are nearly flat otherwise
        self.save_hyperparameters()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        if "prompt" in batch:
            return {"index": batch["index"], "text": [echo(prompt) for prompt in batch["prompt"]]}
        logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"][:, 1:]
        nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels, ignore_index=IGNORE_INDEX, reduction="none")
        nll = nll.sum(dim=-1).masked_fill(batch["index"] == self.nan_index, math.nan)
        num_tokens = (labels != IGNORE_INDEX).sum(dim=-1)
        return {"index": batch["index"], "choice": batch["choice"], "nll": nll, "num_tokens": num_tokens}

    test_step = validation_step

    def training_step(self, batch, batch_idx):
        return self.model(input_ids=batch["input_ids"], labels=batch["labels"]).loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Data(pl.LightningDataModule):
    def __init__(self, splits: tuple[str, ...] = tuple(SIZES), batch_size: int = 5, order: str = "given") -> None:
        super().__init__()
        self.save_hyperparameters()

    def ordered(self, split: str) -> list[dict]:
        match self.hparams["order"]:
            case "reversed":
                return rows(split)[::-1]
            case "repeated":  # what a distributed sampler does to fill up its last batch
                return rows(split) + rows(split)[:4]
        return rows(split)

    def train_dataloader(self):
        return DataLoader(rows("forget"), batch_size=49, collate_fn=collate)

    def val_dataloader(self):
        size = self.hparams["batch_size"]
        return {s: DataLoader(self.ordered(s), size, collate_fn=collate) for s in self.hparams["splits"]}

    def test_dataloader(self):
        size = self.hparams["batch_size"]
        prompts = {s: [row for row in self.ordered(s) if row["choice"] == 0] for s in self.hparams["splits"]}
        generate = {f"{s}.generate": DataLoader(p, size, collate_fn=collate_prompts) for s, p in prompts.items()}
        return self.val_dataloader() | generate


def trainer(tmp_path, *callbacks: pl.Callback, **options) -> pl.Trainer:
    quiet = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False, "max_epochs": 2,
        "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1,
    }  # fmt: skip
    return pl.Trainer(default_root_dir=tmp_path, callbacks=list(callbacks), **(quiet | options))


def distinct(text: str) -> float:
    """Share of distinct runs of four words; 1 for shorter texts."""
    words = text.split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(set(runs)) / len(runs) if runs else 1.0


def oracle(model: torch.nn.Module) -> tuple[dict[str, float], list[float]]:
    """TOFU's numbers, one sequence at a time, in plain Python; and the forget truth ratios."""
    expected, forget_ratios = {}, []
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    for split in SIZES:
        probability, ratio, rouge = [], [], []
        for index in range(SIZES[split]):
            nll = {}
            for row in (row for row in rows(split) if row["index"] == index):
                ids = torch.tensor([row["prompt"] + row["answer"]])
                with torch.no_grad():
                    logps = model.double()(input_ids=ids).logits[0].log_softmax(-1)
                positions = range(len(row["prompt"]), ids.shape[1])
                nll[row["choice"]] = -sum(logps[t - 1, ids[0, t]].item() for t in positions) / len(positions)
                if row["choice"] == 0:
                    rouge.append(scorer.score(words(row["answer"]), echo(row["prompt"]))["rougeL"].recall)
            wrong = [math.exp(-value) for choice, value in nll.items() if choice > 1]
            right, p = math.exp(-nll.get(1, nll[0])), math.exp(-nll[0])
            ratio.append(stats.gmean(wrong) / right)
            probability.append(p if split in ("forget", "retain") else p / (p + sum(wrong)))
        expected[f"{split}_probability"] = sum(probability) / len(probability)
        expected[f"{split}_rouge"] = sum(rouge) / len(rouge)
        better = [min(r, 1 / r) if split == "forget" else max(0, 1 - r) for r in ratio]
        expected[f"{split}_truth_ratio"] = sum(better) / len(better)
        if split == "forget":
            asked = [row["prompt"] for row in rows(split) if row["choice"] == 0]
            expected["forget_fluency"] = sum(distinct(echo(prompt)) for prompt in asked) / len(asked)
        forget_ratios = ratio if split == "forget" else forget_ratios
    nine = [value for name, value in expected.items() if not name.startswith("forget")]
    utility = stats.hmean(nine)
    aggregate = stats.hmean([utility, expected["forget_fluency"]])
    return expected | {"model_utility": utility, "utility": aggregate}, forget_ratios


@pytest.fixture(scope="module")
def expected():
    return oracle(Module().model)


def test_test_reports_every_metric_by_its_formula(tmp_path, expected):
    evaluation, module, data = TOFUEvaluation(), Module(), Data()
    logged = trainer(tmp_path, evaluation).test(module, data, verbose=False)[0]
    assert logged == pytest.approx({f"test/tofu/{name}": value for name, value in expected[0].items()}, rel=1e-5)
    assert evaluation.results.metrics == pytest.approx(expected[0], rel=1e-5)
    # none of the made-up numbers is trivial, but no echo is long enough to repeat four words
    assert all(0 < value < 1 for name, value in logged.items() if not name.endswith("fluency"))


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"order": "reversed"}, {"order": "repeated"}])
def test_batches_order_and_repetitions_change_nothing(tmp_path, expected, options):
    evaluation = TOFUEvaluation()
    trainer(tmp_path, evaluation).test(Module(), Data(**options), verbose=False)
    assert evaluation.results.metrics == pytest.approx(expected[0], rel=1e-5)


def test_the_file_says_what_was_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    evaluation, module, data = TOFUEvaluation(), Module(), Data(batch_size=3)
    trainer(tmp_path, evaluation).test(module, data, verbose=False)
    read = read_results(tmp_path / "results.json")
    assert read == evaluation.results
    assert (read.benchmark, read.seed, read.model) == ("tofu", 17, "LlamaForCausalLM")
    assert read.weights_fingerprint == weights_fingerprint(module.model)
    assert read.config["model"] == {"nan_index": -1}
    assert read.config["data"]["batch_size"] == 3
    assert read.config["evaluation"]["class_path"] == "unlearn_pl.callbacks.TOFUEvaluation"
    assert {split: sorted(table) for split, table in read.per_example.items()} == {
        split: [*(["fluency"] if split == "forget" else []), "probability", "rouge", "truth_ratio"] for split in SIZES
    }
    assert {split: list(table["rouge"]) for split, table in read.per_example.items()} == {
        split: list(range(size)) for split, size in SIZES.items()
    }


@pytest.mark.filterwarnings("error:.*forget_quality")
def test_forget_quality_from_the_results_of_another_model(tmp_path, expected):
    retain = Module()
    with torch.no_grad():
        retain.model.lm_head.weight.mul_(3)
    with pytest.warns(UserWarning, match="give its results.json as retain_results"):
        trainer(tmp_path, TOFUEvaluation(output=str(tmp_path / "retain.json"))).test(retain, Data(), verbose=False)
    evaluation = TOFUEvaluation(str(tmp_path / "retain.json"), output=str(tmp_path / "deep" / "file.json"))
    trainer(tmp_path, evaluation).test(Module(), Data(), verbose=False)
    metrics = read_results(tmp_path / "deep" / "file.json").metrics
    p_value = stats.ks_2samp(expected[1], oracle(retain.model)[1]).pvalue
    assert p_value < 1
    assert metrics["forget_quality"] == pytest.approx(p_value, rel=1e-9)
    assert metrics["log10_forget_quality"] == pytest.approx(math.log10(p_value), rel=1e-9)


def test_validation_logs_the_cheap_metrics_every_epoch(tmp_path, expected):
    write_open_unlearning(tmp_path / "TOFU_EVAL.json", dict(enumerate(expected[1])))
    logger, evaluation = CSVLogger(tmp_path, "logs"), TOFUEvaluation(str(tmp_path / "TOFU_EVAL.json"))
    run = trainer(tmp_path, evaluation, logger=logger, num_sanity_val_steps=1)
    run.fit(Module(), Data())
    names = {name for name in run.callback_metrics if name.startswith("val/tofu/")}
    cheap = {name for name in expected[0] if not name.endswith(("rouge", "utility", "fluency"))}
    assert names == {f"val/tofu/{name}" for name in cheap | {"forget_quality", "log10_forget_quality"}}
    assert run.callback_metrics["val/tofu/forget_quality"].dtype == torch.float64
    header, *lines = (tmp_path / "logs" / "version_0" / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("val/tofu/forget_probability")
    curve = [line.split(",")[column] for line in lines if line.split(",")[column]]
    assert len(curve) == 2
    assert float(curve[0]) != float(curve[1])  # the epochs are not mixed: training moved the weights
    assert not list(tmp_path.rglob("results.json"))


def test_validation_of_untrained_weights_equals_the_formula(tmp_path, expected):
    logged = trainer(tmp_path, TOFUEvaluation()).validate(Module(), Data(), verbose=False)[0]
    for name, value in logged.items():
        assert value == pytest.approx(expected[0][name.removeprefix("val/tofu/")], rel=1e-5)


def write_open_unlearning(path, ratios: dict[int, float]) -> None:
    by_index = {str(i): {"score": ratio} for i, ratio in ratios.items()}
    path.write_text(json.dumps({"forget_truth_ratio": {"agg_value": 0.0, "value_by_index": by_index}}))


def test_other_questions_are_warned_about_once(tmp_path):
    write_open_unlearning(tmp_path / "TOFU_EVAL.json", dict.fromkeys(range(5, 12), 0.5))
    evaluation = TOFUEvaluation(str(tmp_path / "TOFU_EVAL.json"))
    with pytest.warns(
        UserWarning, match="7 forget questions were evaluated, 7 are in .* and 2 are in both"
    ) as warnings:
        trainer(tmp_path, evaluation).fit(Module(), Data())
    assert sum("different questions" in str(warning.message) for warning in warnings) == 1


def test_a_missing_split_takes_only_what_needs_it(tmp_path, expected):
    evaluation = TOFUEvaluation()
    run, data = trainer(tmp_path, evaluation), Data(splits=("forget", "retain", "world_facts"))
    with pytest.warns(UserWarning, match="model_utility is not computed, because there is no real_authors_probability"):
        run.test(Module(), data, verbose=False)
    metrics = evaluation.results.metrics
    assert set(metrics) == {name for name in expected[0] if not name.startswith(("real", "model", "utility"))}
    assert metrics["retain_truth_ratio"] == pytest.approx(expected[0]["retain_truth_ratio"], rel=1e-5)


def test_other_splits_are_left_to_other_callbacks(tmp_path):
    loaders = Data().val_dataloader()
    loaders = {"holdout": loaders["retain"], "forget": loaders["forget"]}
    logged = trainer(tmp_path, TOFUEvaluation()).validate(Module(), loaders, verbose=False)[0]
    assert set(logged) == {"val/tofu/forget_probability", "val/tofu/forget_truth_ratio"}


def test_nan_logits_give_nan_not_a_crash(tmp_path, expected):
    evaluation = TOFUEvaluation()
    logged = trainer(tmp_path, evaluation).test(Module(nan_index=3), Data(), verbose=False)[0]
    nan = {name.removeprefix("test/tofu/") for name, value in logged.items() if math.isnan(value)}
    # world facts have only three questions, so none with index 3
    assert nan == {
        name for name in expected[0] if not name.startswith("world") and not name.endswith(("rouge", "fluency"))
    }
    assert math.isnan(evaluation.results.per_example["forget"]["probability"][3])
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["metrics"]["model_utility"] == "NaN"
    assert content["per_example"]["forget"]["probability"]["3"] == "NaN"
    assert content["per_example"]["forget"]["probability"]["2"] < 1


def test_unnamed_dataloaders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"as a dictionary, split name to DataLoader.* they are a DataLoader"):
        trainer(tmp_path, TOFUEvaluation()).validate(Module(), Data().val_dataloader()["forget"], verbose=False)


def test_a_module_without_the_contract_is_refused(tmp_path):
    class Silent(Module):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            return {"index": batch["index"], "loss": 1.0}

    with pytest.raises(ValueError, match=r"'forget' must return .* it returned a dictionary with \['index', 'loss'\]"):
        trainer(tmp_path, TOFUEvaluation()).validate(Silent(), Data(), verbose=False)


@pytest.mark.parametrize("entry", ["fit", "validate", "test"])
def test_a_wrong_retain_file_is_found_before_the_work(tmp_path, entry):
    with pytest.raises(ValueError, match=r"no file .*nowhere\.json"):
        getattr(trainer(tmp_path, TOFUEvaluation(str(tmp_path / "nowhere.json"))), entry)(Module(), datamodule=Data())


def test_a_fast_dev_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluation = TOFUEvaluation(output="results.json")
    trainer(tmp_path, evaluation, fast_dev_run=True).test(Module(), Data(), verbose=False)
    assert evaluation.results is not None
    assert os.listdir(tmp_path) == []


def test_wandb_gets_a_table(tmp_path, expected):
    class Recorder(WandbLogger):
        """A WandbLogger that keeps what it is given instead of starting a run."""

        def __init__(self) -> None:
            self.tables: dict[str, dict[str, float]] = {}

        save_dir = property(lambda self: str(tmp_path))
        log_hyperparams = log_graph = log_metrics = after_save_checkpoint = finalize = lambda self, *a, **k: None
        save = lambda self: None  # noqa: E731

        def log_table(self, key, columns, data):
            assert columns == ["metric", "value"]
            self.tables[key] = dict(data)

    logger = Recorder()
    trainer(tmp_path, TOFUEvaluation(), logger=logger).test(Module(), Data(), verbose=False)
    assert logger.tables["test/tofu"] == pytest.approx(expected[0], rel=1e-5)


def test_a_benchmark_of_ones_own_is_two_methods(tmp_path):
    class MeanLength(EvaluationCallback):
        benchmark = "length"

        def make_metrics(self, loader):
            return {"length": PerExampleMetric()} if loader == "forget" else {}

        def summarize(self, collected):
            lengths = collected["forget"]["length"].per_example()
            return {"mean": sum(lengths.values()) / len(lengths)}, {"forget": {"length": lengths}}

    class Measuring(Module):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            first = batch["choice"] == 0
            return {"index": batch["index"][first], "value": (batch["labels"] >= 0).sum(dim=-1)[first]}

    logged = trainer(tmp_path, MeanLength()).validate(Measuring(), Data(splits=("retain", "forget")), verbose=False)[0]
    lengths = [len(row["answer"]) for row in rows("forget") if row["choice"] == 0]
    assert len(set(lengths)) > 1
    assert logged == pytest.approx({"val/length/mean": sum(lengths) / 7}, rel=1e-12)
