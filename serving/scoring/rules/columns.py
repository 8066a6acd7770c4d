"""Rules as columns of the model (`use: feature`, or `member` of its ensemble): how many match, and how severe the worst is. Core.

They see what the request sends, and no features: the columns are the same whether or not the feature store is there."""

from serving.ports import Columns
from serving.scoring.inputs import ColumnRows
from serving.scoring.loaded_revision import LoadedRevision


def fields_with_rules(revision: LoadedRevision, rows: ColumnRows) -> Columns:
    """The request fields of rows, with the columns of the rules if the revision's model takes them."""
    rules = revision.rules
    if rules is None or rules.use not in ("feature", "member"):
        return rows.fields
    return {**rows.fields, **rules.features({**rows.keys, **rows.fields}, rows.rows)}
