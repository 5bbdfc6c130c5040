"""The trajectory store: standard Zarr v3 on disk, a commit log beside it. See ``docs/store.md``."""
