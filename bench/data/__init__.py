"""Data: from image files on disk to batches on a device."""
