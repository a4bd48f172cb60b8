"""The commands: they parse, call the core and show."""
