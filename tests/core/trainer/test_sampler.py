"""The order of examples: complete, grouped, and a pure function of seed and epoch."""

import numpy as np

from rdrop_cli.core.trainer.sampler import LengthGroupedSampler

LENGTHS = np.random.default_rng(0).integers(4, 200, size=1003)


def epoch(number, batch=16, seed=1, **options):
    sampler = LengthGroupedSampler(LENGTHS, batch, seed, **options)
    sampler.set_epoch(number)
    return list(sampler)


def test_every_example_comes_once_an_epoch():
    assert sorted(epoch(0)) == list(range(len(LENGTHS)))


def test_the_order_depends_on_seed_and_epoch_alone():
    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3, seed=1) != epoch(3, seed=2)


def test_batches_waste_little_padding_and_the_longest_comes_first():
    order = np.array(epoch(0))
    batches = [order[start : start + 16] for start in range(0, len(order), 16)]

    def real_share(parts):
        return sum(LENGTHS[part].sum() for part in parts) / sum(LENGTHS[part].max() * len(part) for part in parts)

    shuffled = np.array(epoch(0, group=False))
    assert real_share(batches) > 0.9
    assert real_share([shuffled[start : start + 16] for start in range(0, len(order), 16)]) < 0.7
    assert LENGTHS[batches[0]].max() == max(LENGTHS[part].max() for part in batches[:-1])


def test_only_the_last_batch_is_incomplete():
    order = epoch(0)
    spans = [LENGTHS[order[start : start + 16]] for start in range(0, len(order) - 16, 16)]
    assert np.mean([span.max() - span.min() for span in spans]) < 10


def test_fewer_examples_than_a_batch():
    assert sorted(LengthGroupedSampler([5, 3, 9], 16, 0)) == [0, 1, 2]
