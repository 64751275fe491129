import multiprocessing

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import bart
from tests.support.images import photographs

X = (255 * photographs(16, 16, 4)).round().to(torch.uint8)
BARRAGE = bart.Barrage(2, ("noise", "grey_mix", "color_precision"))


def test_forms_come_back_as_they_went_in():
    transform = bart.AsTransform(BARRAGE)
    for image in (X, X[0], X.float() / 255, tv_tensors.Image(X[0])):
        made = transform(image)
        assert (type(made), made.dtype, made.shape) == (type(image), image.dtype, image.shape)
    label = object()
    assert transform(X[0], label)[1] is label
    assert v2.Compose([v2.RandomCrop(12), transform])(tv_tensors.Image(X[0])).shape == (3, 12, 12)
    assert str(transform) == f"AsTransform({BARRAGE})"


def test_each_image_of_each_call_meets_a_draw_of_its_own():
    transform = bart.AsTransform(BARRAGE, torch.Generator().manual_seed(0))
    same = X[:1].repeat(5, 1, 1, 1)
    made = torch.cat([transform(same), transform(same)]).flatten(1)
    assert len(made.unique(dim=0)) == 10


def test_the_seed_of_torch_or_of_a_generator_decides():
    def three(seed):
        torch.manual_seed(seed)
        return torch.stack([bart.AsTransform(BARRAGE)(X) for _ in range(3)])

    assert torch.equal(three(1), three(1)) and not torch.equal(three(1), three(2))
    own = [bart.AsTransform(BARRAGE, torch.Generator().manual_seed(5))(X) for _ in range(2)]
    assert torch.equal(*own)
    before = torch.get_rng_state()
    bart.AsTransform(BARRAGE, torch.Generator().manual_seed(5))(X)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_it_draws_is_what_the_barrage_draws():
    """Its images under one transform are those that the transform itself makes, of parameters in its range."""
    made = bart.AsTransform(bart.Barrage(1, ("grey_mix",)))(X.float() / 255)
    torch.testing.assert_close(made[:, 0], made[:, 1])
    assert torch.equal(bart.AsTransform(bart.Barrage(0))(X), X)


class Same(Dataset):
    """Eight times the same image."""

    transform = bart.AsTransform(BARRAGE)

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.transform(X[0])


def test_workers_of_a_loader_draw_apart_and_anew_in_each_epoch():
    start = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    loader = DataLoader(Same(), batch_size=4, num_workers=2, multiprocessing_context=start)
    seen = torch.cat([batch.flatten(1) for _ in range(2) for batch in loader])
    assert len(seen.unique(dim=0)) == 16


@pytest.mark.parametrize("wrong", [X.double(), X[0, 0], "photo.png", X.long()])
def test_what_is_no_image_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected images \(3, h, w\) or \(n, 3, h, w\), uint8 or float32: put v2.ToImage"):
        bart.AsTransform(BARRAGE)(wrong)
