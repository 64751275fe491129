"""Shrink wavelet details by Triton kernels. `transform.wavelet` is the whole transform; `noise` also serves non-local means."""
