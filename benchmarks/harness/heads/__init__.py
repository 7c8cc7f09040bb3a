"""The table of heads: data sets, cells, and the probes beside them."""
