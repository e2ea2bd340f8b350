"""Problems, optimisers and statistics of tests/benchmarks/experiments.py."""
