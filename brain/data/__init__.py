"""From a store to shuffled batches of windows, uint8 up to the device."""
