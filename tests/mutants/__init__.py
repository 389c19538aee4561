"""Small faults for the code, one at a time: tests must notice each of them."""
