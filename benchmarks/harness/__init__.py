"""What the benchmark scripts share: the machine, token stores, the common objective, peers, tasks, tables."""
