"""Steps in C++, for networks that are only run."""
