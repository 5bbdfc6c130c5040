"""The rehearsal: three hosts with network stacks of their own on one box, a collection, a training, and faults."""
