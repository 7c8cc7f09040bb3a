"""Peers, one a file: ways of solving the same problem, as `harness.measure.Peer`."""
