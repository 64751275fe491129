"""Attacks: frozen settings with a pure `step` over one record of tensors (`bart.attacks.state`)."""
