"""Make shares of images for the tests of intervals, with fixed seeds."""

import numpy as np

IMAGES, DRAWS = (10, 50, 150), (1, 20)


def shares(random, images, draws):
    """Return shares (images,) of right draws: images alike, of every kind, or nearly all right or wrong."""
    total, mean = random.choice([0.05, 0.5, 2, 50]), random.choice([0.003, 0.05, 0.3, 0.5, 0.9, 0.995])
    chances = np.clip(np.nan_to_num(random.beta(total * mean, total * (1 - mean), images), nan=mean), 0, 1)
    return random.binomial(draws, chances) / draws


def some_samples(count):
    """Return samples of 1 to 200 images, some with equal shares only."""
    made = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        made.append(shares(random, int(random.choice([1, 2, 3, 8, 20, 75, 200])), int(random.choice([1, 2, 7, 20, 100]))))
    return made
