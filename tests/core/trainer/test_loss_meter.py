"""Means over examples, exact through a checkpoint."""

import torch

from rdrop_cli.core.trainer.loss_meter import LossMeter


def test_the_meter_is_exact_after_saving_and_loading():
    meter, other = LossMeter(), LossMeter()
    for value in (0.1, 0.7, 0.31):
        meter.add(3, 10, loss=torch.tensor(value), ce=torch.tensor(value), kl=torch.tensor(value))
    other.load_state_dict(meter.state_dict())
    for each in (meter, other):
        each.add(2, 10, loss=torch.tensor(0.9), ce=torch.tensor(0.5), kl=torch.tensor(0.2))
    rates = {"examples_per_second", "tokens_per_second"}
    first, second = (
        {k: v for k, v in each.means(two_passes=True, alpha=1.0).items() if k not in rates} for each in (meter, other)
    )
    assert first == second
