"""The planners: one file each, registered in ``brain.parts``."""
