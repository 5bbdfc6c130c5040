"""One page of one run, of whatever recipe and world, from what its folder holds."""
