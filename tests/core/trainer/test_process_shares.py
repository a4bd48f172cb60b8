"""The examples of a step, divided among processes."""

import numpy as np
import pytest

from rdrop_cli.core.trainer.process_shares import NO_EXAMPLE, Fillable, ShareOfBatches
from rdrop_cli.core.trainer.sampler import LengthGroupedSampler

LENGTHS = np.random.default_rng(0).integers(4, 200, size=1003)


@pytest.mark.parametrize(("batch", "count", "micro"), [(16, 2, 4), (16, 2, 8), (18, 3, 4), (4, 4, 1)])
def test_several_processes_share_the_steps_of_one(batch, count, micro):
    sampler = LengthGroupedSampler(LENGTHS, batch, 1)
    order = list(sampler)
    shares = [ShareOfBatches(sampler, micro, rank, count) for rank in range(count)]
    batches = [list(share) for share in shares]

    assert {len(made) for made in batches} == {len(shares[0])}
    in_step = -(-(batch // count) // micro)
    for step, start in enumerate(range(0, len(order), batch)):
        parts = [made[step * in_step : (step + 1) * in_step] for made in batches]
        assert len({tuple(len(part) for part in own) for own in parts}) == 1  # all do the same work
        seen = [index for own in parts for part in own for index in part]
        assert sorted(index for index in seen if index >= 0) == sorted(order[start : start + batch])
        assert all(~index in order for index in seen if index < 0)


def test_what_fills_a_share_counts_for_nothing():
    dataset = Fillable([{"input_ids": [1, 2], "labels": 1}, {"input_ids": [3], "labels": 0}])

    assert dataset[1] == {"input_ids": [3], "labels": 0}
    assert dataset[~0] == {"input_ids": [1, 2], "labels": NO_EXAMPLE}
