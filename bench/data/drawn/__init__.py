"""The nineteen tasks of the suite `vtab_mini`, drawn by code or cut from dependencies' data."""
