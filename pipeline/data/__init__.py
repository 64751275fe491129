"""Read and write images: WebDataset shards for campaigns, batches for trainings.

- `shards`: the shards of a campaign: find, inspect, read; what other rooms use
- `samples`: the samples of one tar, damaged ones included
- `decoding`: from encoded bytes to pixels
- `order`: the order in which a shard's images are attacked
- `pack`: write labelled image files as shards
- `training_images`, `loader`: the images of a training, and their way to the device
"""

__all__ = ["decoding", "loader", "order", "pack", "samples", "shards", "training_images"]
