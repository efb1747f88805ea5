# %% [markdown]
# # Audit of a model that comes from elsewhere
#
# Somebody sends you a model and a claim: *it has forgotten these people.* You have the folder, the list of what was to
# be forgotten, and doubts. This notebook
#
# 1. makes such a model, with nothing but PyTorch and transformers,
# 2. looks at the claim as its owner does,
# 3. attacks the model, and a model that never saw the list, in the same ways,
# 4. asks whether membership can still be told, and
# 5. reads the verdict: what follows, and what does not.

# %%
import logging
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn.utils.rnn import pad_sequence
from torch.optim import AdamW
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from unlearn_pl.callbacks import TOFUEvaluation
from unlearn_pl.data import PlainTemplate, SyntheticAuthors, TextDataModule
from unlearn_pl.models import train_tokenizer
from unlearn_pl.robustness import (
    Audit,
    FewShotPrompts,
    IntegerRounding,
    PrefixAttack,
    Quantization,
    RandomFraction,
    RelearningSweep,
    SampledAnswers,
    Subject,
    verdict_markdown,
    verdict_of,
)

# UNLEARN_PL_FAST=1 runs every cell at a size at which the numbers mean nothing.
fast = os.environ.get("UNLEARN_PL_FAST") == "1"
folder = Path("runs/foreign")
folder.mkdir(parents=True, exist_ok=True)
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no line per run about devices and settings

# %% [markdown]
# ## 1. Their model
#
# You would not see this section: it is what happens at the owner's. A small GPT-2 is trained on questions and answers
# about made-up people, written as `Q: ...` and `A: ...`. Then half of the people are to be forgotten. The owner does
# what is quickly done: some epochs in which the model is taught to answer "I do not know." to these questions, while
# the other answers are rehearsed.
#
# The second model, `without`, is trained from the start without the people on the list. An owner who could train it for
# every request would not need unlearning; an auditor needs it once, since nothing else says what a model that never saw
# the answers would reveal.

# %%
people = 1 if fast else 4
facts = SyntheticAuthors(forget_authors=people, retain_authors=people, holdout_authors=people)
files = {}
for name, rows in (("forget", facts.forget), ("retain", facts.retain), ("holdout", facts.holdout)):
    files[name] = folder / f"{name}.csv"
    pd.DataFrame(rows)[["question", "answer"]].to_csv(files[name], index=False)


def pairs(name, answer=None):
    table = pd.read_csv(files[name])
    return [(question, answer or right) for question, right in zip(table.question, table.answer, strict=True)]


texts = [f"Q: {question}\nA: {answer}" for name in files for question, answer in pairs(name)]
tokenizer: PreTrainedTokenizerFast = train_tokenizer([*texts, "I do not know."], vocab_size=800)


def train(model, rows, epochs, rate):
    """A plain training loop; only the answers are scored."""
    optimizer = AdamW(model.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(20):
            ids, labels = [], []
            for question, answer in (rows[i] for i in batch.tolist()):
                prompt = tokenizer(f"Q: {question}\nA:")["input_ids"]
                whole = [*tokenizer(f"Q: {question}\nA: {answer}")["input_ids"], tokenizer.eos_token_id]
                ids.append(torch.tensor(whole))
                labels.append(torch.tensor([-100] * len(prompt) + whole[len(prompt) :]))
            inputs = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
            scored = pad_sequence(labels, batch_first=True, padding_value=-100)
            loss = model(inputs, attention_mask=inputs != tokenizer.pad_token_id, labels=scored).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def fresh():
    torch.manual_seed(0)
    width = 16 if fast else 64
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=256,
            n_embd=width,
            n_layer=2,
            n_head=2 if fast else 4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def save(model, name):
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    return str(folder / name)


epochs = 1 if fast else 40
without = save(train(fresh(), pairs("retain"), 2 * epochs, 3e-3), "without")
model = train(fresh(), pairs("forget") + pairs("retain"), epochs, 3e-3)
before = save(model, "before")
theirs = save(train(model, pairs("forget", "I do not know.") + pairs("retain"), 1 if fast else 20, 3e-3), "theirs")

# %% [markdown]
# ## 2. The claim, as its owner checks it


# %%
def ask(path, question):
    model = GPT2LMHeadModel.from_pretrained(path).eval()
    prompt = tokenizer(f"Q: {question}\nA:", return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    return tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip()


rows = []
for question, answer in (*pairs("forget")[:3], pairs("retain")[0]):
    rows.append(
        {"question": question, "right": answer, "before": ask(before, question), "theirs": ask(theirs, question)}
    )
pd.set_option("display.max_colwidth", None)
pd.DataFrame(rows).style.hide(axis="index")

# %% [markdown]
# That is how most claims of forgetting look, and this is as far as most checks go: one question, one greedy answer.
#
# ## 3. The audit
#
# `Subject` is the model and its data. The data module reads the CSV files, and the template says how the model's
# prompts look; a model with a chat template needs none. `Audit` runs every attack on the audited model and on the one
# that never saw the list, and evaluates the model from before. The folders are only read.

# %%
batches = {"eval_batch_size": 64, "template": PlainTemplate("Q: ", "\nA: ")}
data = TextDataModule(forget=files["forget"], retain=files["retain"], warn_of_duplicates=False, **batches)
subject = Subject(theirs, data, max_new_tokens=24, accelerator="cpu", progress=False)
sweep = RelearningSweep(
    rows=[RandomFraction(0.2)],
    learning_rates=[3e-4] if fast else [3e-4, 1e-3],
    steps=2 if fast else 20,
    evaluate_every=2 if fast else 5,
    batch_size=10,
)
attacks = [
    PrefixAttack(0.25),
    FewShotPrompts(2),
    SampledAnswers(samples=2 if fast else 4),
    Quantization(IntegerRounding(bits=4, group_size=16)),
    sweep,
]
audit = Audit(subject, attacks, folder / "audit", retain_model=without, original_model=before)
outcomes = list(audit.run())
verdict = verdict_of(outcomes, changing={attack.name for attack in attacks if attack.changes_weights})
Markdown(verdict_markdown(verdict).partition("\n## ")[0])

# %% [markdown]
# One sentence per score, about the strongest attack that counts: those that change the weights count only if they leave
# 90 % of the probability of the retain answers.
#
# Scores may disagree, and each has its own verdict. ROUGE compares words that the model writes: for it, a model that
# has learned to refuse looks like one that has forgotten. The probability of the answers and the extraction strength
# look under the refusal. A claim that rests on ROUGE alone, or on reading answers as above, says that the model *does
# not say it*, and not that it has forgotten it.
#
# The whole list, by probability of the answers:

# %%
leaks = [leak for leak in verdict.leaks if leak.score == "forget_probability"]
rows = [
    {
        "attack": leak.attack,
        "theirs": leak.audited.value,
        "without": leak.retain.value,
        "excess": leak.excess.value,
        "low": leak.excess.low,
        "high": leak.excess.high,
        "leaks": leak.leaks,
    }
    for leak in leaks
]
table = pd.DataFrame(rows)
original = next(outcome for outcome in outcomes if outcome.role == "original").after["forget_probability"]

figure, axis = plt.subplots(figsize=(10, 0.5 * len(table) + 1.1), layout="constrained")
places = np.arange(len(table))
axis.barh(places - 0.2, table.theirs, height=0.38, color="#D55E00", label="their model")
axis.barh(places + 0.2, table.without, height=0.38, color="#0072B2", label="never saw the list")
axis.axvline(original, color="black", ls="--", label="before unlearning, no attack")
axis.set(yticks=places, yticklabels=table.attack, xlabel="probability of the answers that were to be forgotten")
axis.set(xlim=(0, 1))
axis.invert_yaxis()
axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()
table.style.format(precision=2).hide(axis="index")

# %% [markdown]
# ## 4. Membership
#
# Can it be told which texts the model was trained on? The attacks compare its losses on the list with those on people
# that no model ever saw (`holdout`). An AUC of 0.5 is chance. It is far *below* where answers on the list have become
# less likely than those about strangers: that also gives away what was to be forgotten.


# %%
def membership(path):
    asked = TextDataModule(**files, warn_of_duplicates=False, **batches)
    asked.splits = ["forget", "holdout"]
    subject = Subject(path, asked, max_new_tokens=1, accelerator="cpu", progress=False)
    evaluation = TOFUEvaluation(output=str(folder / "membership" / Path(path).name / "results.json"))
    subject.trainer(callbacks=[evaluation]).test(subject.pretrained(), asked, verbose=False)
    return {key: value for key, value in evaluation.results.metrics.items() if key.startswith("auc_")}


models = {"before": before, "theirs": theirs, "without": without}
aucs = pd.DataFrame({name: membership(path) for name, path in models.items()}).T
names = [name for name in aucs if not name.endswith(("_low", "_high"))]
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
for k, (model, color) in enumerate(zip(models, ("black", "#D55E00", "#0072B2"), strict=True)):
    values = aucs.loc[model]
    ends = [values[names] - values[[f"{n}_low" for n in names]].values, values[[f"{n}_high" for n in names]].values
            - values[names]]  # fmt: skip
    places = np.arange(len(names)) + 0.2 * (k - 1)
    axis.errorbar(values[names], places, xerr=np.abs(ends), fmt="o", color=color, capsize=3, label=model)
axis.axvline(0.5, color="black", lw=0.8, ls=":")
axis.set(yticks=range(len(names)), yticklabels=names, xlim=(-0.02, 1.02), xlabel="AUC, 0.5 is chance")
axis.set_ylim(len(names) - 0.5, -0.5)
axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()

# %% [markdown]
# ## 5. What follows, and what does not

# %%
strongest = verdict.strongest["forget_probability"]
quiet = next(leak for leak in leaks if leak.attack == "Unattacked")
names_of_leaks = {
    True: "leaks more than",
    False: "leaks no more than, as far as can be seen,",
    None: "is not judged by",
}
text = f"""
- Asked as usual, their model gives the forgotten answers a probability of **{quiet.audited.value:.2f}**; before, it was
  {original:.2f}, and a model that never saw them has {quiet.retain.value:.2f}.
- Under the strongest attack that counts, {strongest.attack}, it is **{strongest.audited.value:.2f}**, against
  {strongest.retain.value:.2f} of the other one under the same attack. The interval of the difference is
  {strongest.excess.low:+.2f} to {strongest.excess.high:+.2f}, so their model **{names_of_leaks[strongest.leaks]}** a
  model that never saw the list.
- Membership by loss: an AUC of {aucs.auc_loss["theirs"]:.2f}, against {aucs.auc_loss["without"]:.2f}.
"""
Markdown(text)

# %% [markdown]
# **What follows if it leaks:** the claim is wrong. The attacks had the weights, and some of the answers or a part of
# each; somebody with the same gets the rest out. One attack is enough for that, and no further one can change it.
#
# **What does not follow:**
#
# - If it had leaked no more than the other model, the claim would *not* be proven. It would have withstood these
#   attacks at these settings, and no others.
# - That the owner has lied. A greedy answer of "I do not know." is what they saw.
# - A number for another model of the same method. Intervals are over the questions on the list: they know nothing of
#   another seed, another list or another size.
# - Anything without the model that never saw the list. Some answers can be guessed from the question, and a model that
#   is fine-tuned on a fifth of the answers learns how such answers look. Only the difference is leakage.
#
# Attacks that need what you do not have do not apply: without the weights, prefixes and examples in the prompt remain.
#
# ## The same from the command line
#
# `unlearn-pl audit` evaluates, attacks within a time, and writes `audit.json` and `audit.md`:
#
# ```bash
# unlearn-pl audit -c experiments/attacks/audit.yaml --model runs/foreign/theirs --retain_model runs/foreign/without
# ```
#
# with the data module of this notebook in the file's `data`. See [docs/attacks.md](../docs/attacks.md).
