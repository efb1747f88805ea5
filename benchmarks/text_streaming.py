"""How long a large text file takes until training may begin, and how much memory: the first start, and the second.

    python benchmarks/text_streaming.py                     # 1 GB, and four times as much on the disk
    python benchmarks/text_streaming.py --megabytes 200

The file has a document a line, made of invented words. Every start is a process of its own. Memory is what the process
and those that it starts hold for themselves, at most; files that are mapped into memory are not counted, since the
system may drop them at any time.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from unlearn_pl.data import Documents, Encoder, PlainTemplate
from unlearn_pl.models import train_tokenizer

SYLLABLES = [c + v + e for c in "bdfghklmnprstvwz" for v in "aeiou" for e in ("", "n", "r", "s")]


def write_text(path: Path, megabytes: int) -> None:
    """Documents of 200 to 2000 words, the rank of which follows Zipf's law."""
    rng = random.Random(0)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(50_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    left = megabytes * 1_000_000
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            pool = rng.choices(words, weights, k=1_000_000)
            start = 0
            while start < len(pool) and left > 0:
                size = rng.randint(200, 2000)
                left -= file.write(" ".join(pool[start : start + size]) + ".\n")
                start += size


def own_memory(pid: int) -> int:
    """Kilobytes of a process and its children that are not of files; what several share counts once."""
    try:
        memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0  # it has just ended
    own = next((int(line.split()[1]) for line in memory.splitlines() if line.startswith("Pss_Anon")), 0)
    return own + sum(own_memory(int(child)) for child in children)


def watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.2):
        peak[0] = max(peak[0], own_memory(os.getpid()))


def start(folder: Path, chunk_length: int) -> None:
    """What one start of training does with the stream; prints a row of the table."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    encoder = Encoder(tokenizer, PlainTemplate())
    source = Documents(str(folder / "text.txt"), chunk_length=chunk_length, cache_dir=str(folder / "cache"))
    before, peak, done = own_memory(os.getpid()), [0], threading.Event()
    watcher = threading.Thread(target=watch, args=(peak, done))
    watcher.start()
    begin = time.perf_counter()
    source.prepare("retain", encoder)
    dataset = source.dataset("retain", encoder)
    seconds = time.perf_counter() - begin
    rng = random.Random(1)
    begin = time.perf_counter()
    for _ in range(10_000):
        _ = dataset[rng.randrange(len(dataset))].labels
    microseconds = (time.perf_counter() - begin) * 100
    done.set()
    watcher.join()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in used)
    tokens = len(dataset) * (chunk_length - 1) / 1e6
    print(
        f"| {seconds:.1f} s | {cpu:.1f} s | {before / 1024:.0f} MiB | {(peak[0] - before) / 1024:.0f} MiB "
        f"| {len(dataset)} chunks, at most {tokens:.0f} million tokens | {microseconds:.0f} us |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the text file")
    parser.add_argument("--folder", type=Path, help="where the file and the cache are for as long as this runs")
    parser.add_argument("--chunk-length", type=int, default=512)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start(options.start, options.chunk_length)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        needed, free = 4 * options.megabytes * 1_000_000, shutil.disk_usage(folder).free
        if free < needed:
            parser.error(f"{folder} has {free / 1e9:.1f} GB left and {needed / 1e9:.1f} are needed: name a --folder.")
        write_text(folder / "text.txt", options.megabytes)
        with (folder / "text.txt").open(encoding="utf-8") as file:
            train_tokenizer([file.readline() for _ in range(200)], 8192).save_pretrained(folder)
        print("| start | wall | processor | memory before | memory added | holds | a chunk at random |\n|" + "---|" * 7)
        command = [sys.executable, __file__, "--chunk-length", str(options.chunk_length), "--start", str(folder)]
        for name in ("first", "second"):
            print(f"| {name} ", end="", flush=True)
            subprocess.run(command, check=True)
        size = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
        print(f"The cache has {size / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
