"""What the commands show: tables, progress, live views. Imports value types of the core."""
