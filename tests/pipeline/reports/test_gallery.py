import pytest
from PIL import Image, ImageSequence

from bart import TRANSFORMS
from pipeline.errors import BadInput
from pipeline.reports import gallery


def test_the_stack_grows_from_the_photograph_by_one_transform_a_frame():
    frames = gallery.growing_stack(gallery.photograph(None))
    assert len(frames) == 11 and len({frame.tobytes() for frame in frames}) == 11


def test_the_pictures_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "SIDE", 64)
    sheet, animation = gallery.gallery(None, tmp_path / "pictures")
    with Image.open(animation) as movie:
        assert len(list(ImageSequence.Iterator(movie))) == 11
    with Image.open(sheet) as page:
        tiles = (page.width * 3 // 2 // (64 + 4)) * (page.height * 3 // 2 // (64 + gallery.LABEL + 4))
        assert tiles >= 3 * len(TRANSFORMS)


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(BadInput, match="no image"):
        gallery.photograph(tmp_path / "text.jpg")
