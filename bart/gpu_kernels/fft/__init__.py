"""Filter spectra: images of few pixels on the chip, others between torch's transforms."""
