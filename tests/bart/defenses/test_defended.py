import torch
from torch import nn

from bart import Barrage, Classifier, Defended, Mirror


def keys_of(frozen):
    """Return the keys of two purposes and two steps of one of them, for two images."""
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)), (0.0,) * 3, (1.0,) * 3, (8, 8))
    defended, images = Defended(classifier, Barrage(1), frozen), Mirror.of(torch.tensor([11, 12]), "cpu")
    first, second = (Mirror.of(torch.tensor([step, step]), "cpu") for step in (0, 1))
    return [
        defended.keys(images, "evaluation").host,
        defended.keys(images, "step", first).host,
        defended.keys(images, "step", second).host,
    ]


def test_each_purpose_and_step_has_keys_of_its_own():
    assert len(torch.cat(keys_of(frozen=False)).unique()) == 6


def test_a_frozen_defense_has_one_key_an_image_for_all_purposes_and_steps():
    evaluation, first, second = keys_of(frozen=True)
    assert torch.equal(evaluation, first) and torch.equal(first, second) and evaluation[0] != evaluation[1]
