"""Made-up folders in the layouts of MUSE, WMDP and PKU-SafeRLHF."""

import gzip
import json
from pathlib import Path

MILLS = ["Tarn", "Osk", "Lund", "Vik", "Holm", "Brae"]


def text(i: int, place: str = "mill") -> str:
    name = MILLS[i % len(MILLS)]
    return f"The {place} of {name} was built in {1700 + i}.{' It grinds rye.' * (i % 4)} Maud {i} keeps it, as before."


def write(path: Path, rows: list, lines: bool = False) -> None:
    """JSON (or JSON Lines, or compressed with gzip, by the name)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


def pairs(count: int, first: int = 0) -> list[dict]:
    return [
        {
            "question": f"When was mill {i} built{', then' * (i % 3)}?",
            "answer": f"In {1700 + i}{', they say' * (i % 2)}",
        }
        for i in range(first, first + count)
    ]


def muse(folder: Path) -> Path:
    """Six forget texts (and one without a word), seven and five to retain, and every kind of evaluation."""
    forget = [text(i) for i in range(6)]
    write(folder / "raw/forget.json.gz", [*forget[:4], " ", *forget[4:]])
    write(folder / "raw/retain1.json", [text(i, "bakery") for i in range(7)])
    write(folder / "raw/retain2.json", [text(i, "forge") for i in range(5)])
    write(folder / "raw/holdout.json", [text(i, "quarry") for i in range(3)])
    for split, place in (("forget", "mill"), ("retain1", "bakery"), ("retain2", "forge")):
        write(folder / f"train/{split}.json", [text(i, place) for i in range(8)])
    for fold in (2, 3, 4):
        write(folder / f"scal/forget_{fold}.json", [text(i) for i in range(6 * fold)])
        write(folder / f"sust/forget_{fold}.json", [text(i) for i in range(6 * fold - 6, 6 * fold)])
    write(folder / "verbmem/forget.json", [{"prompt": t[:20].rstrip(), "gt": t[20:].lstrip()} for t in forget[:3]])
    for kind in ("forget", "retain"):
        write(folder / f"knowmem/{kind}_qa.json", pairs(4, 20))
        write(folder / f"knowmem/{kind}_qa_icl.json", pairs(10))
    for i, kind in enumerate(("forget", "retain", "holdout")):
        write(folder / f"privleak/{kind}.json.gz", [text(5 * i + k) for k in range(4)])
    return folder


def choices(count: int, topic: str) -> list[dict]:
    return [
        {
            "question": f" Which {topic} is number {i}?{' Think twice.' * (i % 3)}\n",
            "choices": [f"{topic} {(i + k) % 7}" for k in range(4)],
            "answer": i % 4,
        }
        for i in range(count)
    ]


def wmdp(folder: Path) -> Path:
    """Corpora of two domains in the three layouts of the benchmark, questions of three, MMLU and WikiText."""
    for domain in ("bio", "chem", "cyber"):
        write(folder / f"wmdp-{domain}_test.jsonl", choices(6, domain), lines=True)
    papers = [{"title": f"Note {i}", "abstract": "Not read.", "text": text(i), "doi": "0"} for i in range(6)]
    write(folder / "bio_remove_dataset.jsonl", papers, lines=True)
    write(folder / "bio-retain-corpus.jsonl", [{"text": text(i, "forge")} for i in range(7)], lines=True)
    (folder / "cyber-forget-corpus.lines.txt").write_text("\n".join(text(i) for i in range(5)) + "\n")
    write(folder / "cyber-retain-corpus.jsonl", [{"text": text(i, "forge")} for i in range(7)], lines=True)
    mmlu = [{**row, "subject": "college_milling"} for row in choices(5, "millstone")]
    write(folder / "mmlu.jsonl", mmlu, lines=True)
    articles = [f" \n = {MILLS[i]} = \n \n {text(i)} \n = = Rye = = \n {text(i + 1)} \n" for i in range(3)]
    (folder / "wiki.txt").write_text("".join(articles))
    return folder


def judged(count: int) -> list[dict]:
    """Both harmful, one of both harmful (in both orders), none harmful; the same prompt every four rows."""
    safe = [(False, False), (True, False), (False, True), (True, True)]
    return [
        {
            "prompt": f"How do I break the mill {i % 4}?{' Quick!' * (i % 3)}",
            "response_0": f"Answer {i}: {'take a hammer' if not safe[i % 4][0] else 'please do not'}.",
            "response_1": f"Reply {i}: {'take a very heavy hammer' if not safe[i % 4][1] else 'ask the miller first'}.",
            "is_response_0_safe": safe[i % 4][0],
            "is_response_1_safe": safe[i % 4][1],
            "better_response_id": 1,
            "safer_response_id": int(safe[i % 4][1]),
        }
        for i in range(count)
    ]


def preference(folder: Path) -> Path:
    """Twelve judged rows to train on, eight to test on, and a file in TruthfulQA's columns."""
    write(folder / "train.jsonl", judged(12), lines=True)
    write(folder / "test.jsonl", judged(8), lines=True)
    header = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    rows = [f'Made up,Mills,"Do mills turn, {i}?",They turn{" slowly" * i},They turn; Yes,No,none\n' for i in range(5)]
    (folder / "normal.csv").write_text(header + "".join(rows))
    return folder
