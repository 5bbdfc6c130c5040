"""The costs: one file each, registered in ``brain.parts``."""
