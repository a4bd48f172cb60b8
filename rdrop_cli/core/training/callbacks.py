"""Callbacks around training steps: report progress, keep the best model, stop on a signal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from rdrop_cli import processes
from rdrop_cli.core.runs.history import history_row, write_history
from rdrop_cli.errors import StorageError

if TYPE_CHECKING:
    from rdrop_cli.core.training.observer import Observer

_STEPS_TO_ASK, _SECONDS_TO_ASK = 10, 2.0
"""Several processes ask each other whether to stop after this many steps or seconds, whichever comes first."""


class ObserveTraining(TrainerCallback):
    """Forwards progress to an observer and keeps history.csv equal to the state's log history.

    Training continues if the history cannot be written, for instance because a spreadsheet has it open: each new entry
    rewrites the whole file, and checkpoints also contain the history.
    """

    def __init__(self, observer: Observer, history: Path) -> None:
        self.observer = observer
        self.history = history
        self._evaluated = 0
        self._is_behind = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.observer.step(state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_log = True  # the steps since the last multiple of logging_steps

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._evaluated += 1
        self.observer.evaluating(self._evaluated)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._evaluated = 0
        self.observer.evaluating(0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        if (fault := self._write(state)) and not self._is_behind:
            self.observer.notice(f"{fault}; training continues and tries again with each new entry")
        self._is_behind = fault is not None
        if newest := history_row(state.log_history[-1]):
            self.observer.log(newest)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._is_behind and (fault := self._write(state)):
            self.observer.notice(f"{fault}, so the newest entries are missing from it")

    def _write(self, state: Any) -> str | None:
        """Write the history; return the error message if that fails."""
        try:
            write_history(self.history, state.log_history)
        except StorageError as error:
            return error.message
        return None


class KeepBest(TrainerCallback):
    """Copies a checkpoint that has just been saved to best/ if its validation metric is the best so far.

    In this order a kill between the two loses nothing, because the copy can be made again from the checkpoint.
    """

    def __init__(self, keep: Callable[[int], None]) -> None:
        self.keep = keep

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero and state.best_global_step == state.global_step:
            self.keep(state.global_step)


class StopOnSignal(TrainerCallback):
    """On SIGINT or SIGTERM finishes the step, saves and stops; a second signal ends the process at once.

    The handler only sets a flag, so that no write is interrupted. Several processes must stop at the same step, so they
    ask each other, but only every tenth step, or about every two seconds if steps are slow, since they wait for each
    other whenever they ask. With several processes a second signal is normal, because the terminal and the launcher
    both send it; then only a SIGTERM that arrives seconds later ends the process, even if it hangs.

    Attributes:
        stopping: All processes have agreed to stop at this step.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.stopping = False
        self._requested = False
        self._mid_epoch = False
        self._asked: tuple[int, float] | None = None
        self._ask_at = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs; outside the main thread, which Python does not allow, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with processes.ended_by_second_sigterm():
                yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def agree(self) -> bool:
        """Whether any process was asked to stop. All processes must call this at the same point."""
        self.stopping = processes.any_of(self._requested)
        return self.stopping

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            if processes.world_size() == 1:
                raise KeyboardInterrupt
            return
        self._requested = True
        self.observer.stopping()

    def _agree_now_and_then(self, step: int) -> bool:
        """Like `agree`, but only at some steps, the same ones in all processes; otherwise False."""
        if processes.world_size() == 1:
            return self.agree()
        if step < self._ask_at:
            return False
        now = time.monotonic()
        own = (now - self._asked[1]) / (step - self._asked[0]) if self._asked else _SECONDS_TO_ASK
        asked, seconds = processes.largest(float(self._requested), own)
        self._asked = step, now
        self._ask_at = step + max(1, min(_STEPS_TO_ASK, int(_SECONDS_TO_ASK / max(seconds, 1e-9))))
        self.stopping = bool(asked)
        return self.stopping

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        steps_in_epoch = state.max_steps // int(args.num_train_epochs)
        if self._agree_now_and_then(state.global_step) and state.global_step % steps_in_epoch:
            self._mid_epoch = True
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        stopping = self.agree()
        if self._mid_epoch:
            # The loop also calls this when it stops in mid-epoch; the resumed run will evaluate and save at the end.
            control.should_evaluate = control.should_save = control.should_log = False
        elif stopping:
            control.should_training_stop = True
