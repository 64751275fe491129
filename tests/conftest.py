import os

import torch

torch.set_num_threads(1)  # small tensors: threads only get into each other's way

os.environ["BARRAGE_ALLOW_MODULES"] = "tests"  # campaigns of the tests bring networks of their own
