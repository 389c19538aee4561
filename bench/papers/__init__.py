"""The papers as data: their claims, the layouts of their tables, and their studies."""
