"""Make stores with contents that are known: by hand, of any size, or as an earlier release left them."""
