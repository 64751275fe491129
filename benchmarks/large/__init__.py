"""Measure what each stage of a campaign takes, from a thousand images of CIFAR-10 to a hundred thousand, and how that grows."""

CELLS = ("plain-none-noop", "plain-none-fgsm")
"""The cells of the campaign: an attack that changes nothing, and one of a single step."""
