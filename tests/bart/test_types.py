import pytest
import torch

from bart import Ball, Goal, Mirror, Pgd, checked

IMAGE = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
WRONG = {
    "one image": (IMAGE[0], r"\(3, 32, 40\).*expected \(n, 3, height, width\).*unsqueeze"),
    "grey and alpha": (IMAGE[:, :2], r"\(2, 2, 32, 40\).*or 1 if grey"),
    "channels last": (IMAGE.permute(0, 2, 3, 1), r"\(2, 32, 40, 3\)"),
    "no pixels": (IMAGE[:, :, :0], "0 x 40 pixels: expected at least 1 x 1; leave empty images out"),
    "8 bits": ((IMAGE * 255).byte(), r"uint8.*/ 255"),
    "0 to 255": (IMAGE * 255, r"expected values in \[0, 1\]: divide"),
    "normalised": (IMAGE * 4 - 2, r"expected values in \[0, 1\]"),
    "a little above": (IMAGE + 0.01, r"to 1.00"),
    "not a number": (torch.where(IMAGE > 0.999, torch.nan, IMAGE), "remove NaN"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_attack_refuses_what_is_not_an_image(name):
    x, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        checked(x)
    label = torch.zeros(len(x), dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        Pgd(Ball("linf", 0.1), random_start=False).start(x, Goal(label, label - 1), Mirror.of(label, "cpu"))


def test_images_pass_unchanged():
    for x in (IMAGE, torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32), IMAGE.double(), IMAGE[:0], IMAGE[:, :1]):
        assert checked(x) is x
