"""Search for the files of a benchmark, which come under several names and in several formats."""

from collections.abc import Sequence
from pathlib import Path

from unlearn_pl.data.io.contained import check_contained

EXTENSIONS = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".csv", ".parquet", ".lines.txt", ".txt", ".txt.gz")


def find_file(folder: str | Path, names: Sequence[str]) -> str:
    """The first file of ``folder`` that has one of the ``names``, and an extension of :data:`EXTENSIONS`.

    A shard of downloaded Parquet data (``<name>-00000-of-00001.parquet``) is found, too, if it is the only one.

    Args:
        folder: where to look.
        names: paths inside the folder, without extension, the preferred one first.

    Raises:
        ValueError: if there is none, or more than one shard, or it is a link that leads out of the folder.
    """
    for name in names:
        for extension in EXTENSIONS:
            path = Path(folder) / f"{name}{extension}"
            if path.is_file():
                return str(check_contained(path, Path(folder)))
        shards = sorted(Path(folder).glob(f"{name}-*-of-*.parquet"))
        if len(shards) > 1:
            raise ValueError(f"{folder} has {len(shards)} shards of {name}; accepted is one file.")
        if shards:
            return str(check_contained(shards[0], Path(folder)))
    raise ValueError(
        f"The folder {folder} has no file {' or '.join(names)}, with one of the extensions {', '.join(EXTENSIONS)}."
    )
