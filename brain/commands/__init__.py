"""The subcommands of ``brain``, one file each: ``command`` is registered in ``brain/cli.py``."""
