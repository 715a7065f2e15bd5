"""Are new rows still like those the student was trained for? Knows arrays, and the one file its reference lies in.

    reference(features, said, layout, seed)     a sample of the pool, kept beside the model by `write`
    Monitor(reference, layout).hear(features, said)     .p .alarm .found(): look whenever

Null: new rows and the pool's come from one source (they are exchangeable). What is watched of a row: its mean cosine
distance to the 5 nearest of up to 1,024 anchors drawn from the pool (deep nearest neighbours: Sun et al. 2022); its
doubt, 1 - the probability of its label, as the predicted error (Garg et al. 2022); and its label. Distance and doubt
are ranked among up to 2,048 other rows of the pool and all new rows before, ties broken at random: conformal p-values,
exactly uniform and independent from row to row under the null (Vovk, Gammerman & Shafer 2005, theorem 8.1). Labels are
taken by blocks of 64: given all rows so far, the block is any 64 of them, so the rank of its chi-square among those of
499 random blocks is such a p-value, too. Scores are counted in bins of fixed width: the memory needed does not grow.

Against each p a few bets are laid, e·p^(e-1) and 1 + l(1 - 2p), all of mean 1, and wealth is put on every block of 64
rows as the one where the change began, with the shares 1/log2(b+1) - 1/log2(b+2) of block b, which sum to 1. So the
wealth on distance, on doubt and on labels is a martingale from 1 each, and the chance that one of them ever reaches 3/a
is at most a, however often one looks (Ville 1939; Vovk 2021, "Testing randomness online"; a union bound over the three,
which is needed: they are martingales by themselves and not of what is known together). 1/(the highest wealth/3) is a
p-value at any time.

What the null leaves out: rows of a pool that the student was taught must have cross-fitted predictions in `said`, else
new rows seem more doubtful than the pool. With them the law holds approximately, on the safe side for distance and
doubt: twins were taught less than the student that meets the new rows, so the pool seems the more doubtful, and only
more of either is bet on; for labels it is unproved. And a shift of labels or language is told, but whether labels got
worse only people can tell.
"""

from agent.drift.monitor import ALPHA, Monitor, Scored, Strange, words
from agent.drift.reference import FILE, Reference, read, reference, sample, write

__all__ = [
    "ALPHA",
    "FILE",
    "Monitor",
    "Reference",
    "Scored",
    "Strange",
    "read",
    "reference",
    "sample",
    "words",
    "write",
]
