"""Read and write images: WebDataset shards for campaigns, batches for trainings.

- `shards`: the shards of a campaign: find, inspect, read; what other rooms use
- `sources`: the kinds of shards, and other places that images come from
- `tars`: how tars are laid out
- `samples`, `keys`: the samples of one shard, damaged ones included; what is wrong with a key
- `index`: what is known of shards before they are read
- `pictures`, `decoding`: from encoded bytes to RGB, and to a square of pixels
- `earlier_pixels`: which images had other pixels in earlier releases
- `guarded`: decode in a process beside this one, which an image may crash
- `order`: the order in which a shard's images are attacked
- `pack`: write labelled image files as shards
- `training_images`, `loader`: the images of a training, and their way to the device
"""

__all__ = [
    "decoding", "earlier_pixels", "guarded", "index", "keys", "loader", "order", "pack", "pictures", "samples", "shards",
    "sources", "tars", "training_images",
]  # fmt: skip
