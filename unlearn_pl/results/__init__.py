"""Results of evaluations: ``results.json``, its reading and writing, and the fingerprints in it.

A file records which weights were evaluated, the configuration, and every score per example, so that results can be
compared, tested and aggregated again without the model.
"""

from unlearn_pl.results.comparable import check_comparable
from unlearn_pl.results.fingerprint import config_hash, weights_fingerprint
from unlearn_pl.results.json_file import read_json, write_json, write_sealed_json
from unlearn_pl.results.placement import free_path, set_aside
from unlearn_pl.results.results import (
    PerExample,
    Results,
    evaluation_arguments,
    evaluation_class_path,
    read_results,
    software_versions,
    utc_now,
    write_results,
)
from unlearn_pl.results.trail import append_to_trail, read_trail
from unlearn_pl.results.writable import check_writable

__all__ = [
    "PerExample",
    "Results",
    "append_to_trail",
    "check_comparable",
    "check_writable",
    "config_hash",
    "evaluation_arguments",
    "evaluation_class_path",
    "free_path",
    "read_json",
    "read_results",
    "read_trail",
    "set_aside",
    "software_versions",
    "utc_now",
    "weights_fingerprint",
    "write_json",
    "write_results",
    "write_sealed_json",
]
