"""The data factory: Ray actors simulate episodes and write them to a store."""
