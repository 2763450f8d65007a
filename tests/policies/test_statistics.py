"""Running statistics against NumPy, whatever the batches."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.modules import ObservationNormalizer
from policies.statistics import RunningStatistics


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 7), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_merged_batches_give_the_moments_of_all_rows(seed, sizes, offset):
    rng = np.random.default_rng(seed)
    batches = [rng.normal(size=(size, 3)) + offset for size in sizes]
    statistics = RunningStatistics(3)
    for batch in batches:
        statistics.update(torch.from_numpy(batch))
    rows = np.concatenate(batches)
    if not len(rows):
        assert torch.equal(statistics.scale_F, torch.ones(3, dtype=torch.float64))
        return
    np.testing.assert_allclose(statistics.mean_F.numpy(), rows.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(statistics.square_F.numpy(), rows.var(axis=0) * len(rows), rtol=1e-6, atol=1e-6)


def test_the_normaliser_standardises_and_clips():
    rows = torch.tensor([[0.0, 5.0], [2.0, 5.0]])
    statistics, normalizer = RunningStatistics(2), ObservationNormalizer(2)
    torch.testing.assert_close(normalizer(rows), rows)
    statistics.update(rows)
    normalizer.use(statistics)
    torch.testing.assert_close(normalizer(rows), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    assert normalizer(torch.tensor([[1e9, 5.0]]))[0, 0] == 10.0
