"""Measure what training costs beside bare training: python -m benchmarks.train [RECIPE ...] [--steps 20] [--random]

A recipe is a training file. Its steps run on random pictures of its size, with its own network, optimiser and precision. They
alternate with bare steps: forward, backward and update of the network only. For each recipe the script prints the images a
second, the ratio to the bare steps, and how the time of the device divides: the bare step, the lesson (transforms, or attack),
the rest (augmentation, teacher). BaRT fine-tuning should spend no more on the lesson than on the model.
"""

import argparse
from pathlib import Path

import torch

from bart import Mirror, key
from pipeline.config import classifier_training as recipes
from pipeline.config.classifier_training import ClassifierTraining
from pipeline.data.loader import Batch
from pipeline.models.loading import RANDOM
from pipeline.provenance import device_name
from pipeline.training import checkpoint
from pipeline.training.classifier_job import resolved
from pipeline.training.process_group import Group
from pipeline.training.steps import Steps

WARM = 5
"""Steps of each kind before any is timed: compilation, the choice of algorithms."""


def pictures(recipe: ClassifierTraining, device: torch.device) -> Batch:
    """Return a batch of random pictures of the recipe's size."""
    side, count = recipe.pictures.crop, recipe.batch
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    keys = Mirror.of(torch.tensor([key("train benchmark", i) for i in range(count)]), device)
    return Batch(pixels.to(device), (torch.arange(count) % recipe.model.classes).to(device), keys)


def measure(path: Path, steps: int, batch: int | None, random: bool, device: torch.device) -> None:
    """Print the line of a recipe."""
    recipe = recipes.load(path)
    if random:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"weights": RANDOM})})
    recipe = resolved(recipe)
    recipe = recipe.model_copy(update={"batch": batch} if batch else {})
    plain = {"barrage": None, "attack": None, "distill": None, "augment": None, "average": 0.0}
    runs = {name: Steps(each, WARM + steps, device, Group())
            for name, each in (("bare", recipe.model_copy(update=plain)), ("recipe", recipe))}  # fmt: skip
    batches = {name: pictures(run.config, device) for name, run in runs.items()}
    with checkpoint.reproducible():
        for step in range(WARM + steps):
            for name, run in runs.items():
                run.take(batches[name], step)
                run.clock.pause()  # the other kind's step does not count
                if step == WARM - 1:
                    run.clock.reset()
    bare, found = runs["bare"].clock.speed(), runs["recipe"].clock.speed()
    spent = runs["recipe"].clock.seconds
    shares = ", ".join(f"{name} {spent[name] / spent.total():.0%}" for name in ("bare", "lesson", "rest"))
    print(
        f"{recipe.name}, {recipe.model.architecture}, batch {recipe.batch}: bare {bare.images:,.0f} images/s, recipe "
        f"{found.images:,.0f} images/s, {found.images / bare.images:.0%} of it; of its time {shares}; "
        f"lesson / model {spent['lesson'] / spent['bare']:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, default=sorted(Path("campaigns/train").glob("*.yaml")))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, help="images of a step; default: the recipe's")
    parser.add_argument("--random", action="store_true", help="begin with random weights, which are neither read nor fetched")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{device_name(device)}, torch {torch.__version__}, {args.steps} steps of each kind")
    for path in args.recipes:
        measure(path, args.steps, args.batch, args.random, device)


if __name__ == "__main__":
    main()
