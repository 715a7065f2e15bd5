"""Which model answered, and whether it is still the one that did at first. Sends nothing."""

from __future__ import annotations

import logging
from dataclasses import replace

from agent.errors import EndpointDown
from agent.types import Answer

log = logging.getLogger("tutelage")


class Served:
    """`pin`: pause when another model answers than did at first; else it is said once and such answers are flagged."""

    def __init__(self, pin: bool) -> None:
        self._pin = pin
        self._model = ""
        self._others: set[str] = set()
        self._drifted = ""

    def check(self) -> None:
        """Raises:
        EndpointDown: another model answers now, and that is to be a pause.
        """
        if self._drifted:
            raise EndpointDown(self._drifted)

    def same(self, answer: Answer, where: str) -> Answer:
        """Flags an answer of another model than answered at first, and says so once for each."""
        model = answer.served_model
        if not self._model or model in ("", self._model):
            self._model = self._model or model
            return answer
        if model not in self._others:
            self._others.add(model)
            said = f"{where} answered as {self._model!r} at first and now as {model!r}"
            log.warning("%s: such answers are flagged", said)
            if self._pin:
                mend = "run again to go on with it, or set revision to ask everything again"
                self._drifted = f"{said} (pin = true): {mend}"
        return replace(answer, flags=(*answer.flags, f"model={model}"))
