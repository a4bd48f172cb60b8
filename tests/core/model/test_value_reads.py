"""What makes Python wait for a device is counted."""

import pytest
import torch

from rdrop_cli.core.model.value_reads import ValueReads

X = torch.tensor([1.0, 0.0, 2.0])
READING = {
    "item": lambda: X[0].item(),
    "bool": lambda: bool(X.all()),
    "membership": lambda: 2.0 in X,
    "boolean index": lambda: X[X > 0],
    "comparison": lambda: torch.equal(X, X),
    "nonzero": lambda: X.nonzero(),
    "unique": lambda: X.unique(),
}


@pytest.mark.parametrize("way", READING)
def test_a_read_is_counted(way):
    with ValueReads() as spy:
        READING[way]()

    assert spy.reads


def test_what_stays_on_the_device_is_no_read():
    with ValueReads() as spy:
        (X * 2).sum().clamp(min=1) + torch.where(X > 0, X, 0).mean()

    assert spy.reads == {}
    assert spy.operations["aten.mul"] == 1
