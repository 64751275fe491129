"""Add offsets in colour spaces by Triton kernels. `transform` has the four transforms; the other modules are its parts."""
