"""Filter by ranks and means over disks: one program filters one tile of one plane with that plane's own disk."""
