"""The records of cells: schema, store, leases. Imports neither torch nor timm."""
