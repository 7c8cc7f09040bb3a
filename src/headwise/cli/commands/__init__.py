"""One command a module; each has a function ``command``."""
