"""Carve seams by Triton kernels. `transform.seam_carving` is the whole transform; the other modules are its parts."""
