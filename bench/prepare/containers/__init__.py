"""What sources come in: folders, archives, tables of numbers; each read a few images at a time."""
