"""Results as tidy rows, one per trial, in per cent, in a CSV file that several processes may add to; their means."""

from pipeline.evaluation.results.means import COUNTED, common_name, groups_of, summarize
from pipeline.evaluation.results.rows import append_rows, check_not_folder, locked, read_rows
from pipeline.evaluation.results.scalars import named_means
from pipeline.evaluation.results.schema import AGREED, LABELS, METRICS, PER_TRIAL, RECORDED, rank_metrics
from pipeline.evaluation.results.wording import (
    RECONSTRUCTED,
    columns_that_tell,
    corrupted,
    differing,
    format_summary,
    marked_runs,
    reconstructed,
    reconstruction,
    remarks,
    telling,
    trial_counts,
)

__all__ = [
    "AGREED",
    "COUNTED",
    "LABELS",
    "METRICS",
    "RECONSTRUCTED",
    "RECORDED",
    "PER_TRIAL",
    "append_rows",
    "columns_that_tell",
    "common_name",
    "corrupted",
    "differing",
    "format_summary",
    "groups_of",
    "locked",
    "marked_runs",
    "named_means",
    "rank_metrics",
    "read_rows",
    "check_not_folder",
    "reconstructed",
    "reconstruction",
    "remarks",
    "summarize",
    "telling",
    "trial_counts",
]
