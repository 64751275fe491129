"""Rank filters over disks as Triton kernels: one program filters one tile of one plane with that plane's own disk."""
