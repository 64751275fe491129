"""Find wrong labels and wrong preprocessing in what the clean images look like."""

import pytest
import torch

from pipeline.campaigns.attempt.clean_pass import CleanPass


def seen(right, images=20, classes=10, draws=4, apart=0):
    """Return the suspicion of a pass where the first `right` images get the label plus `apart`, the others something else."""
    label = torch.arange(images) % (classes - 4) + 2
    said = label[:, None].expand(images, draws) + torch.where(torch.arange(images) < right, apart, 2)[:, None]
    found = CleanPass(classes)
    found.add(label[:5], said[:5])
    found.add(label[5:], said[5:])
    return found.suspicion


@pytest.mark.parametrize(("apart", "line"), [(1, "say the label +1"), (-1, "say the label -1")])
def test_labels_off_by_one_are_remarked(apart, line):
    assert line in seen(15, apart=apart) and "75 % of draws" in seen(15, apart=apart)
    assert "off by one" not in seen(15)


def test_accuracy_near_chance_is_remarked():
    assert "clean accuracy is 10.0 % of 20 images" in seen(2) and "mean and std" in seen(2)
    assert seen(6) == "" and seen(20) == ""


def test_a_few_images_prove_nothing():
    assert seen(0, images=7) == "" and seen(0, images=8) != ""
