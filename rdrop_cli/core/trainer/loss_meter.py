"""Running means of the training loss and its parts."""

from __future__ import annotations

import copy
import time

import numpy as np
from torch import Tensor, float32, tensor

from rdrop_cli import processes


class LossMeter:
    """Running means since the last log entry, kept on the device so that no step waits for it.

    The means are over examples: loss, ce and kl in nats; kl_share is the share of the KL term, alpha included, in the
    loss; agreement is the share of examples for which both passes predict the same class. Rates count the work of this
    process since the last entry.
    """

    _NAMES = ("loss", "ce", "kl", "agree")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new window."""
        self.sums: dict[str, Tensor | float] = dict.fromkeys(self._NAMES, 0.0)
        self.examples: Tensor | int = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Start measuring rates anew, so that the time of an evaluation does not lower them."""
        self._started = time.perf_counter()
        self._timed_examples: Tensor | int = 0
        self._timed_tokens: Tensor | int = 0

    def add(self, examples: int, tokens: Tensor | int, **means: Tensor) -> None:
        """Add a micro-batch's means and its number of real (unpadded) tokens."""
        self.add_sums(examples, tokens, **{name: mean.detach().float() * examples for name, mean in means.items()})

    def add_sums(self, examples: Tensor | int, tokens: Tensor | int, **sums: Tensor) -> None:
        """Add a micro-batch's sums over its examples, whose number may be a tensor on the device."""
        self.examples = self.examples + examples
        self._timed_examples = self._timed_examples + examples
        self._timed_tokens = self._timed_tokens + tokens
        for name, total in sums.items():
            self.sums[name] = self.sums[name] + total.detach().float()

    def copy(self) -> LossMeter:
        """An independent copy."""
        made = copy.copy(self)
        made.sums = dict(self.sums)
        return made

    def gather(self) -> None:
        """Add the counts of all processes to those of the main process; the others restart from zero.

        So calling it again, for a log entry and then for a checkpoint, counts nothing twice.
        """
        if processes.world_size() == 1:
            return
        own = [self.examples, self._timed_examples, self._timed_tokens, *self.sums.values()]
        totals = processes.summed(np.array([float(value) for value in own]))
        if not processes.is_main_process():
            totals = totals * 0
        self.examples, self._timed_examples, self._timed_tokens = (int(total) for total in totals[:3])
        self.sums = dict(zip(self._NAMES, (float(total) for total in totals[3:]), strict=True))

    def means(self, *, two_passes: bool, alpha: float | None) -> dict[str, float]:
        """The window's means; without kl, kl_share and agreement if there is only one pass.

        Args:
            alpha: That of the whole window; None: it has changed, and the KL term is what the loss has besides ce.
        """
        examples = int(self.examples)
        if not examples:
            return {}
        mean = {name: float(total) / examples for name, total in self.sums.items()}
        logs = {"loss": mean["loss"], "ce": mean["ce"]}
        if two_passes:
            term = mean["loss"] - mean["ce"] if alpha is None else alpha * mean["kl"]
            share = term / mean["loss"] if mean["loss"] else 0.0
            logs |= {"kl": mean["kl"], "kl_share": share, "agreement": mean["agree"]}
        seconds = time.perf_counter() - self._started
        if (timed := int(self._timed_examples)) and seconds > 0:
            logs["examples_per_second"] = timed / seconds
            logs["tokens_per_second"] = float(self._timed_tokens) / seconds
        return logs

    def state_dict(self) -> dict[str, float]:
        """The sums as plain numbers, exact to the last bit."""
        return {"examples": int(self.examples), **{name: float(total) for name, total in self.sums.items()}}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a `state_dict`."""
        self.examples = int(state["examples"])
        self.sums = {name: tensor(state[name], dtype=float32) for name in self._NAMES}
        self.restart_clock()
