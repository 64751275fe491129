"""Make the campaign that runs the variants of a cell's checks on a sample of the images."""

from pipeline.campaigns.check.table import Variant, checks
from pipeline.config.attacks import ByGradient
from pipeline.config.campaign import Campaign, Cell, Grid
from pipeline.errors import BadInput


def chosen(campaign: Campaign, name: str | None) -> Cell:
    """Return the cell to check: the named one; default: the one whose defense costs most, as of most transforms. Raises
    BadInput.
    """
    fit = {cell.name: cell for cell in campaign.grid() if isinstance(cell.attack, ByGradient)}
    if name is not None and name not in fit:
        raise BadInput(f"--cell {name}: expected a cell whose attack follows gradients: {', '.join(fit) or 'there is none'}")
    if not fit:
        raise BadInput(
            f"campaign {campaign.name} has no cell whose attack follows gradients: there is nothing to check; add an attack "
            "such as pgd"
        )
    return fit[name] if name else max(fit.values(), key=lambda c: c.defense.cost)


BASE = "base"
"""Name of the cell's own attack among the variants. All others are controls, which may fail."""


def campaign_of(campaign: Campaign, cell: Cell, images: int) -> Campaign:
    """Return the campaign that runs every variant of the cell on the first `images` images."""
    variants = {BASE: Variant(cell.defense, cell.attack)}
    for check in checks(cell):
        variants |= check.variants
    data = campaign.data.model_copy(update={"limit": min(images, campaign.data.limit or images)})
    return campaign.model_copy(
        update={
            "name": f"{campaign.name}-check",
            "data": data,
            "models": {cell.model_name: cell.model},
            "defenses": {name: v.defense for name, v in variants.items()},
            "attacks": {name: v.attack for name, v in variants.items()},
            "cells": [Grid(model=[cell.model_name], defense=[name], attack=[name]) for name in variants],
            "unit_images": campaign.unit_images or images,
            "stop": None,
            "store": None,
        }
    )
