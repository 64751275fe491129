"""Denoise by total variation in Triton kernels. `transform.tv_chambolle` is the whole transform; the others are its parts."""
