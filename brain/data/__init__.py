"""From the store to shuffled batches of windows, uint8 all the way to the device."""
