"""Offsets in colour spaces as Triton kernels. `transform` has the four transforms; the other modules are its parts."""
