"""Files that are damaged and calls with arguments that are wrong: ``make fuzz``.

``python -m tools.fuzz --count 10000`` damages files of every format that ``unroll apply`` and its options read, and
draws arguments of the public operators, proxes, algorithms, networks and tasks from their signatures. What is found is
printed with the command that repeats it.
"""
