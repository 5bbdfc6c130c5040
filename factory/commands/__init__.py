"""The subcommands of ``factory``, one file each: ``command`` is registered in ``factory/cli.py``."""
