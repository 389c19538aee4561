"""The records of cells: schema, store, leases; files are read strictly. Without torch and timm."""
