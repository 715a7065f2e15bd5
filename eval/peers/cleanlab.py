"""cleanlab (confident learning): how good each label is, from a student's held-out probabilities.

Reads an .npz file (labels, probabilities) named on the command line; writes the scores of its three methods, lower is
worse, to the second file.
"""

from __future__ import annotations

import sys

import numpy as np
from cleanlab.rank import get_label_quality_scores

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def main() -> None:
    """One set."""
    given = np.load(sys.argv[1])
    scores = {m: get_label_quality_scores(given["labels"], given["probabilities"], method=m) for m in METHODS}
    np.savez(sys.argv[2], **scores)


if __name__ == "__main__":
    main()
