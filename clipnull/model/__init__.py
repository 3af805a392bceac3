"""A CLIP: where its towers end, and edits folded into their last layers."""

from clipnull.model.fold import (
    fold,
    folded,
    folded_edits,
    last_layer,
    merged_state,
    unfold,
    unprojected,
)
from clipnull.model.towers import embedding_dim

__all__ = [
    "embedding_dim",
    "fold",
    "folded",
    "folded_edits",
    "last_layer",
    "merged_state",
    "unfold",
    "unprojected",
]
