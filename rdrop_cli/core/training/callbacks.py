"""What happens around training steps: showing, keeping the best model, stopping on a signal."""

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
"""Several processes ask one another whether to stop after so many steps, or so much time, whichever comes first."""


class ObserveTraining(TrainerCallback):
    """Forwards progress to an observer and keeps history.csv equal to the state's log history.

    A history that cannot be written, because a spreadsheet has it open, say, stops no training: it
    is written anew, whole, with each entry, and checkpoints hold it too.
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
            self.observer.notice(f"{fault}; training continues, and each further entry tries again")
        self._is_behind = fault is not None
        if newest := history_row(state.log_history[-1]):
            self.observer.log(newest)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._is_behind and (fault := self._write(state)):
            self.observer.notice(f"{fault}, so it lacks the newest entries")

    def _write(self, state: Any) -> str | None:
        """Write the history; what was wrong if it could not be."""
        try:
            write_history(self.history, state.log_history)
        except StorageError as error:
            return error.message
        return None


class KeepBest(TrainerCallback):
    """Exports a checkpoint that has just been saved when its validation metric is the best so far.

    In this order a kill between the two loses nothing: the export can be made again.
    """

    def __init__(self, export: Callable[[int], None]) -> None:
        self.export = export

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero and state.best_global_step == state.global_step:
            self.export(state.global_step)


class StopOnSignal(TrainerCallback):
    """On SIGINT or SIGTERM finishes the step, saves and stops; a second signal ends the process at once.

    The signal only sets a flag, so that no write is cut in the middle. Several processes ask one another every tenth
    step, or after two seconds' worth of longer ones, so that all stop at the same step and none waits for the others at
    every one. As their launcher passes a signal on, and the terminal sends it too, a second one is nothing special
    then, but for a SIGTERM that comes seconds later: it ends the process, even one that hangs.

    Attributes:
        stopping: Every process knows that training stops here.
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
        """Handle the signals while the block runs. Outside the main thread signals cannot be handled."""
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
        """Whether any process was asked to stop; every process must ask at the same point."""
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
        """As `agree`, at the steps that all processes ask at; False in between."""
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
            # The epoch has not ended; its evaluation and checkpoint belong to the resumed run.
            control.should_evaluate = control.should_save = control.should_log = False
        elif stopping:
            control.should_training_stop = True
