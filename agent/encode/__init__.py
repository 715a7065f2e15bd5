"""Texts to vectors: finds a sentence encoder and keeps what it computed on disk. Knows nothing of labels or tasks.

The model is loaded when the first text must be embedded, so a run whose texts are all cached starts without torch.
"""

from agent.encode.cache import SHARD, Cache, Embed, Progress
from agent.encode.encoder import PRECISIONS, Encoder
from agent.encode.look import BESIDE, HUB, PACKAGE, find

__all__ = ["BESIDE", "HUB", "PACKAGE", "PRECISIONS", "SHARD", "Cache", "Embed", "Encoder", "Progress", "find"]
