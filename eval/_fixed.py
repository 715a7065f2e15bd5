"""A student that costs nothing, to weigh what the house around it costs. Knows no texts: its predictions are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from agent.types import Context, Floats, Item, Layout


@dataclass(frozen=True)
class Settings:
    """spread: how sure the drawn predictions are."""

    spread: float = 2.0


class Fixed:
    """Predictions drawn by seed, nothing learned; a model folder is left empty."""

    name = "fixed"

    def __init__(self, layout: Layout, spread: float, seed: int) -> None:
        self.layout, self.spread, self.seed = layout, spread, seed

    def fresh(self) -> Fixed:
        return self

    def features(self, items: Sequence[Item]) -> Floats:
        draw = np.random.default_rng(self.seed).standard_normal((len(items), 32), dtype=np.float32)
        return draw / np.linalg.norm(draw, axis=1, keepdims=True)

    def fit(self, features: Floats, targets: Floats, weights: Floats) -> None:
        return None

    def predict(self, features: Floats) -> Floats:
        mix = np.random.default_rng(self.seed + 1).standard_normal((features.shape[1], self.layout.width))
        return self.layout.normalise((features @ mix.astype(np.float32)) * np.float32(self.spread))

    def save(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)

    def load(self, folder: str) -> None:
        return None


def build(settings: Settings, context: Context) -> Fixed:
    """The student."""
    return Fixed(context.layout, settings.spread, context.seed)


plugin = SimpleNamespace(Settings=Settings, build=build)
