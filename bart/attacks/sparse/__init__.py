"""Attack by perturbations with few changed values: L1 and L0."""
